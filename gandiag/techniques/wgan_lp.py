"""WGAN-LP: the Wasserstein loss with a one-sided gradient penalty, which lets slopes below one be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from gandiag.techniques.base import BATCH_COUPLED, Batch, Card, Technique, positive, technique
from gandiag.techniques.r1 import squared_slope
from gandiag.techniques.wgan_gp import EPSILON, between


def slope_excess(logits: Float[Tensor, ...], x: Float[Tensor, "n ..."], *, pack: int = 1) -> Float[Tensor, " packs"]:
    """max(0, |dD/dx| - 1)^2 at each sample (or pack of samples), shape (ceil(n / pack),); still differentiable.

    Source: Petzka et al. 2018, arXiv:1709.08894, without its factor lambda.
    """
    return functional.relu((squared_slope(logits, x, pack=pack) + EPSILON).sqrt() - 1).square()


@technique(
    Card(
        name="wgan_lp",
        summary="Replaces both losses by the Wasserstein loss, with a penalty on D's slopes above one only.",
        treats={"GD201": 0.45, "GD301": 0.45, "GD101": 0.35, "GD104": 0.4, "GD105": 0.35, "GD203": 0.35},
        source="Petzka et al. 2018, arXiv:1709.08894",
        seams=("gradients",),
        cost=2.5,
        cautions=(
            "with one D step for each G step the critic may be too far from optimal; WGAN takes five",
            "its own evidence is on toy data; on images it is close to wgan_gp",
            "the losses that the script prints no longer say what is trained",
        ),
        conflicts=("gradient_penalty", "dragan", "label_smoothing"),
        layers=BATCH_COUPLED,
        snippet="""\
a = torch.rand(len(x_real), *[1] * (x_real.ndim - 1), device=x_real.device)
x_mix = (a * x_real + (1 - a) * x_fake.detach()).requires_grad_()
slope, = torch.autograd.grad(D(x_mix).sum(), x_mix, create_graph=True)      # D's logits, before any sigmoid
penalty = F.relu((slope.square().flatten(1).sum(1) + 1e-12).sqrt() - 1).square().mean()
loss_d = D(x_fake.detach()).mean() - D(x_real).mean() + {lam} * penalty     # D's step
loss_g = -D(G(z)).mean()                                                    # G's step""",
    )
)
@dataclass
class WganLP(Technique):
    """WGAN-LP in place of the script's adversarial losses.

    Attributes:
        lam: strength of the penalty, above zero; as WGAN-GP's, 10 for images and less for 2-D toys.
    """

    takes_over: ClassVar[bool] = True
    lam: float = 10.0

    def check(self) -> None:
        """Refuse strengths that mean nothing."""
        positive("wgan_lp", lam=self.lam)

    def d_loss(self, batch: Batch) -> Tensor:
        """E D(fake) - E D(real) + lam * E max(0, |dD/dx| - 1)^2 at random mixtures of real and fake."""
        mixed = between(real=batch.real, fake=batch.fake, generator=batch.generator)
        penalty = slope_excess(batch.critic(mixed), mixed, pack=batch.pack).mean()
        return batch.critic(batch.fake, like="fake").mean() - batch.critic(batch.real).mean() + self.lam * penalty

    def g_loss(self, batch: Batch) -> Tensor:
        """-E D(fake)."""
        return -batch.critic(batch.fake, like="fake").mean()
