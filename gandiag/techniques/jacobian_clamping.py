"""Jacobian clamping: how much G stretches a small step of its latents is kept between two bounds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.techniques.base import Card, Latent, Technique, positive, technique


def stretch(
    z: Float[Tensor, "n ..."], near: Float[Tensor, "n ..."], made: Float[Tensor, "n ..."], other: Float[Tensor, "n ..."]
) -> Float[Tensor, " n"]:
    """`|G(z) - G(z')| / |z - z'|` of each sample, Euclidean norms over all elements.

    Source: Odena et al. 2018, arXiv:1802.08768, Algorithm 1.
    """
    moved, step = (torch.linalg.vector_norm(x.flatten(1), dim=1) for x in (made - other, z - near))
    ratio: Tensor = moved / step
    return ratio


def clamping_loss(q: Float[Tensor, " n"], *, low: float, high: float) -> Float[Tensor, ""]:
    """`(max(q, high) - high)^2 + (min(q, low) - low)^2`, mean over samples, 0-dim; same source."""
    return ((q.clamp(min=high) - high).square() + (q.clamp(max=low) - low).square()).mean()


@technique(
    Card(
        name="jacobian_clamping",
        summary="Keeps how much G stretches a small step of its latents between two bounds.",
        treats={"GD104": 0.3, "GD103": 0.2, "GD301": 0.2},
        source="Odena et al. 2018, arXiv:1802.08768, Algorithm 1",
        seams=("gradients",),
        cost=1.8,
        cautions=(
            "the bounds are in the units of samples over those of latents: 1 and 20 are the paper's, for images of -1 "
            "to 1 and 128 latents",
        ),
        snippet="""\
delta = torch.randn_like(z)
z_near = z + {step} * delta / delta.flatten(1).norm(dim=1).view(-1, *[1] * (z.ndim - 1))
q = (G(z) - G(z_near)).flatten(1).norm(dim=1) / (z - z_near).flatten(1).norm(dim=1)
loss_g = loss_g + {weight} * ((q.clamp(min={high}) - {high}) ** 2 + (q.clamp(max={low}) - {low}) ** 2).mean()""",
    )
)
@dataclass
class JacobianClamping(Technique):
    """Jacobian clamping.

    Attributes:
        low: least stretch, at least 0; 1 in the paper.
        high: largest stretch, above `low`; 20 in the paper.
        step: length of the step in the latents, above 0; 1 in the paper.
        weight: of the term, above 0; 1 in the paper.
    """

    low: float = 1.0
    high: float = 20.0
    step: float = 1.0
    weight: float = 1.0

    def check(self) -> None:
        """Refuse bounds that hold nothing."""
        positive("jacobian_clamping", high=self.high, step=self.step, weight=self.weight)
        if not 0 <= self.low < self.high:
            raise UsageError(
                f"technique 'jacobian_clamping': low must be at least 0 and below high, got low={self.low} and "
                f"high={self.high}"
            )

    def g_term(self, latent: Latent) -> Tensor:
        """`weight` * the squared distance of the stretch from the bounds, for two more forwards of G."""
        z = latent.z
        delta = torch.randn(z.shape, device=z.device, dtype=z.dtype, generator=latent.generator)
        near = z + self.step * delta / torch.linalg.vector_norm(delta.flatten(1), dim=1).view(-1, *[1] * (z.ndim - 1))
        q = stretch(z, near, latent.make(z), latent.make(near))
        return self.weight * clamping_loss(q, low=self.low, high=self.high)
