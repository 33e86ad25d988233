"""The gradient penalty of WGAN-GP, added to whatever loss the script has."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gandiag.techniques.base import BATCH_COUPLED, Batch, Card, Technique, positive, technique
from gandiag.techniques.wgan_gp import between, slope_distance


@technique(
    Card(
        name="gradient_penalty",
        summary="Adds a penalty on slopes of D other than one, between real and fake, to the script's loss of D.",
        treats={"GD201": 0.4, "GD301": 0.45, "GD203": 0.3, "GD101": 0.25, "GD104": 0.25},
        source="Gulrajani et al. 2017, arXiv:1704.00028, Eq. 3; with other losses: Fedus et al. 2018, arXiv:1710.08446",
        seams=("gradients",),
        cost=1.75,
        cautions=(
            "a slope of one keeps D moving at the equilibrium: r1 asks for zero, and converges",
            "needs operations in D that can be differentiated twice",
        ),
        conflicts=("r1", "r2", "wgan_gp", "wgan_lp", "dragan", "rpgan_r1_r2"),
        layers=BATCH_COUPLED,
        snippet="""\
a = torch.rand(len(x_real), *[1] * (x_real.ndim - 1), device=x_real.device)
x_mix = (a * x_real + (1 - a) * x_fake.detach()).requires_grad_()
slope, = torch.autograd.grad(D(x_mix).sum(), x_mix, create_graph=True)      # D's logits, before any sigmoid
penalty = ((slope.square().flatten(1).sum(1) + 1e-12).sqrt() - 1).square().mean()
loss_d = loss_d + {lam} * penalty""",
    )
)
@dataclass
class GradientPenalty(Technique):
    """The two-sided gradient penalty, added to the script's own loss of D.

    Attributes:
        lam: strength, above zero: 10 for images, 0.1 for 2-D toys (the authors' own code).
    """

    lam: float = 10.0

    def check(self) -> None:
        """Refuse strengths that mean nothing."""
        positive("gradient_penalty", lam=self.lam)

    def d_loss(self, batch: Batch) -> Tensor:
        """`lam` * E (|dD/dx| - 1)^2 at random mixtures of real and fake."""
        mixed = between(real=batch.real, fake=batch.fake, generator=batch.generator)
        return self.lam * slope_distance(batch.critic(mixed), mixed, pack=batch.pack).mean()
