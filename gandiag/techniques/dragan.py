"""DRAGAN: penalise slopes of D other than one around the real samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gandiag.techniques.base import BATCH_COUPLED, Batch, Card, Technique, positive, technique
from gandiag.techniques.wgan_gp import slope_distance


def around(x: Float[Tensor, "n ..."], *, c: float, generator: torch.Generator) -> Float[Tensor, "n ..."]:
    """Points around `x`: x + c * std(x) * U with U uniform in [-1, 1) for each number, requiring a gradient.

    The paper leaves the noise open; its authors' first notebook has U in [0, 1), so that all points lie on one side
    of the data. Centred noise is what later code took (google/compare_gan: std * (U[0, 1) - 1/2), which is c = 0.5).

    Args:
        x: the real samples.
        c: the width, in standard deviations.
        generator: gandiag's own random stream.
    """
    # Over all numbers of the batch, not by feature; the population's, which one row has as well.
    std = x.std(correction=0)
    noise = 2 * torch.rand(x.shape, device=x.device, dtype=x.dtype, generator=generator) - 1
    return (x + c * std * noise).detach().requires_grad_()


@technique(
    Card(
        name="dragan",
        summary="Adds a penalty on slopes of D other than one in the neighbourhood of the real samples to D's loss.",
        treats={"GD203": 0.35, "GD201": 0.4, "GD301": 0.4, "GD104": 0.3, "GD101": 0.25, "GD105": 0.25},
        source="Kodali et al. 2017, arXiv:1705.07215",
        seams=("gradients",),
        cost=1.55,
        cautions=(
            "a slope of one at the data keeps D moving at the equilibrium: r1 asks for zero, and converges",
            "c must be small against the distance between modes",
            "needs operations in D that can be differentiated twice",
        ),
        conflicts=("r1", "r2", "wgan_gp", "wgan_lp", "gradient_penalty", "rpgan_r1_r2"),
        layers=BATCH_COUPLED,
        snippet="""\
x_near = x_real + {c} * x_real.std(correction=0) * (2 * torch.rand_like(x_real) - 1)
x_near = x_near.detach().requires_grad_()
slope, = torch.autograd.grad(D(x_near).sum(), x_near, create_graph=True)    # D's logits, before any sigmoid
penalty = ((slope.square().flatten(1).sum(1) + 1e-12).sqrt() - 1).square().mean()
loss_d = loss_d + {lam} * penalty""",
    )
)
@dataclass
class DRAGAN(Technique):
    """The DRAGAN penalty, added to the script's own loss of D.

    Attributes:
        lam: strength, above zero; 10 is the authors'.
        c: width of the noise in standard deviations of the batch, above zero; 0.5 is the authors'.
    """

    lam: float = 10.0
    c: float = 0.5

    def check(self) -> None:
        """Refuse strengths and widths that mean nothing."""
        positive("dragan", lam=self.lam, c=self.c)

    def d_loss(self, batch: Batch) -> Tensor:
        """`lam` * E (|dD/dx| - 1)^2 around the real batch."""
        near = around(batch.real, c=self.c, generator=batch.generator)
        return self.lam * slope_distance(batch.critic(near), near, pack=batch.pack).mean()
