"""R2: penalise the slope of D at fake samples."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gandiag.techniques.base import BATCH_COUPLED, Batch, Card, Technique, positive, technique
from gandiag.techniques.r1 import squared_slope


@technique(
    Card(
        name="r2",
        summary="Adds gamma/2 times the squared slope of D at fake samples to D's loss.",
        treats={"GD203": 0.5, "GD301": 0.5, "GD105": 0.4, "GD201": 0.4, "GD101": 0.25, "GD104": 0.25},
        source="Mescheder et al. 2018, arXiv:1801.04406, Eq. 10",
        seams=("gradients",),
        cost=1.75,
        cautions=(
            "gamma depends on the data: it grows with the resolution; try x4 and /4 before giving up",
            "r1 is the usual choice of the two; R3GAN needs both",
            "needs operations in D that can be differentiated twice",
        ),
        conflicts=("wgan_gp", "gradient_penalty", "dragan", "rpgan_r1_r2"),
        layers=BATCH_COUPLED,
        snippet="""\
x_fake = x_fake.detach().requires_grad_()
slope, = torch.autograd.grad(D(x_fake).sum(), x_fake, create_graph=True)   # D's logits, before any sigmoid
loss_d = loss_d + {gamma} / 2 * {every} * slope.square().flatten(1).sum(1).mean()   # at each {every}-th D step""",
    )
)
@dataclass
class R2(Technique):
    """R2 regularisation.

    Attributes:
        gamma: strength, above zero; as R1's.
        every: apply it at each n-th D step, n times as strong (lazy regularisation, Karras et al. 2020,
            arXiv:1912.04958, appendix B).
    """

    gamma: float = 1.0
    every: int = 1

    def check(self) -> None:
        """Refuse strengths and intervals that mean nothing."""
        positive("r2", gamma=self.gamma, every=self.every)

    def d_loss(self, batch: Batch) -> Tensor | None:
        """Gamma / 2 * E |dD/dx|^2 at the fake batch."""
        if batch.step % self.every:
            return None
        fake = batch.fake.detach().requires_grad_()
        slopes = squared_slope(batch.critic(fake, like="fake"), fake, pack=batch.pack)
        return self.every * self.gamma / 2 * slopes.mean()
