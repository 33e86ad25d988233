"""Latent noise: Gaussian noise on what G is given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gandiag.techniques.base import Card, Latent, Technique, positive, technique


def noisy(z: Float[Tensor, ...], *, std: float, generator: torch.Generator) -> Float[Tensor, ...]:
    """`z` plus fresh normal noise of this standard deviation."""
    return z + std * torch.randn(z.shape, device=z.device, dtype=z.dtype, generator=generator)


@technique(
    Card(
        name="latent_noise",
        summary="Adds Gaussian noise to G's input while it trains.",
        treats={"GD104": 0.2},
        source="advice of tutorials; no paper that measures it alone is known to gandiag",
        seams=("networks",),
        cost=1.1,
        cautions=(
            "a latent that is drawn anew for each batch is noise already: this only widens it, from a variance of 1 to "
            "1 + std^2, and samples drawn later from the narrower one vary less",
            "it can tell most where G's input is data: an image, a condition, a latent that is used again",
        ),
        snippet="""\
fake = G(z + {std} * torch.randn_like(z))""",
    )
)
@dataclass
class LatentNoise(Technique):
    """Gaussian noise on G's input.

    Attributes:
        std: its standard deviation in the latent's units, above zero. 0.1 is a judgement: a tenth of a normal latent.
    """

    std: float = 0.1

    def check(self) -> None:
        """Refuse strengths that mean nothing."""
        positive("latent_noise", std=self.std)

    def g_input(self, latent: Latent) -> Tensor:
        """The latent plus noise."""
        return noisy(latent.z, std=self.std, generator=latent.generator)
