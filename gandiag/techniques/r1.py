"""R1: penalise the slope of D at real samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gandiag.techniques.base import BATCH_COUPLED, Batch, Card, Technique, for_each_pack, positive, technique


def squared_slope(logits: Float[Tensor, ...], x: Float[Tensor, "n ..."], *, pack: int = 1) -> Float[Tensor, " packs"]:
    """Squared norm of dD/dx at each sample (or pack of samples), shape (ceil(n / pack),); still differentiable.

    Source: Mescheder et al. 2018, arXiv:1801.04406, Eq. 9, without its factor gamma / 2.

    Args:
        logits: D's outputs for `x`; every row may depend on its own row of `x` alone.
        x: the samples, requiring a gradient.
        pack: how many samples D judges at a time; their slope is one vector.
    """
    (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return for_each_pack(slope.square().flatten(1).sum(dim=1), pack)


@technique(
    Card(
        name="r1",
        summary="Adds gamma/2 times the squared slope of D at real samples to D's loss.",
        treats={"GD203": 0.8, "GD105": 0.6, "GD201": 0.65, "GD301": 0.5, "GD101": 0.35, "GD104": 0.35},
        source="Mescheder et al. 2018, arXiv:1801.04406, Eq. 9",
        seams=("gradients",),
        cost=1.65,
        cautions=(
            "gamma depends on the data: it grows with the resolution; try x4 and /4 before giving up",
            "too large a gamma costs diversity",
            "needs operations in D that can be differentiated twice",
        ),
        conflicts=("wgan_gp", "rpgan_r1_r2"),
        layers=BATCH_COUPLED,
        snippet="""\
x_real = x_real.detach().requires_grad_()
slope, = torch.autograd.grad(D(x_real).sum(), x_real, create_graph=True)   # D's logits, before any sigmoid
loss_d = loss_d + {gamma} / 2 * {every} * slope.square().flatten(1).sum(1).mean()   # at each {every}-th D step""",
    )
)
@dataclass
class R1(Technique):
    """R1 regularisation.

    Attributes:
        gamma: strength, above zero. 10 is StyleGAN2's at 256x256; small data sets and 2-D toys want 0.1 to 1.
        every: apply it at each n-th D step, n times as strong (lazy regularisation, Karras et al. 2020,
            arXiv:1912.04958, appendix B).
    """

    gamma: float = 1.0
    every: int = 1

    def check(self) -> None:
        """Refuse strengths and intervals that mean nothing."""
        positive("r1", gamma=self.gamma, every=self.every)

    def d_loss(self, batch: Batch) -> Tensor | None:
        """Gamma / 2 * E |dD/dx|^2 at the real batch."""
        if batch.step % self.every:
            return None
        real = batch.real.detach().requires_grad_()
        return self.every * self.gamma / 2 * squared_slope(batch.critic(real), real, pack=batch.pack).mean()
