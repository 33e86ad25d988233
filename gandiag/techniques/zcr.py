"""Latent consistency regularisation: D shall not see a small step of the latents, and G shall show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.techniques.base import Card, Latent, Technique, positive, technique


def gap(x: Float[Tensor, "n ..."], other: Float[Tensor, "n ..."]) -> Float[Tensor, ""]:
    """Mean squared difference over all elements, 0-dim.

    Source: Zhao et al. 2020, arXiv:2002.04724, section 3.2 (zCR), with means for norms, as PyTorch-StudioGAN has them.
    """
    return (x - other).square().mean()


@technique(
    Card(
        name="zcr",
        summary="Asks D to judge samples of nearly equal latents alike, and G to make them different (zCR).",
        treats={"GD104": 0.3, "GD101": 0.2, "GD105": 0.2},
        source="Zhao et al. 2020, arXiv:2002.04724, section 3.2",
        seams=("gradients",),
        cost=2.55,
        cautions=(
            "G's part is negative and has no bound: with too large a weight G spreads its samples without end",
            "the step is in the units of the latents; the paper's are normal",
            "where D mixes the samples of a batch, as batch norm does, it compares two batches, not two samples",
        ),
        snippet="""\
z_near = z + {radius} * torch.randn_like(z)
near = G(z_near)
loss_d = loss_d + {d} * (D(G(z).detach()) - D(near.detach())).square().mean()      # D's step, D's logits
loss_g = loss_g - {g} * (G(z) - near).square().mean()                              # G's step""",
    )
)
@dataclass
class ZCR(Technique):
    """Latent consistency regularisation.

    Attributes:
        radius: standard deviation of the step in the latents, above 0; 0.05 in PyTorch-StudioGAN.
        d: weight on D's side, at least 0; 5 in the paper for CIFAR-10 (20 in PyTorch-StudioGAN).
        g: weight on G's side, at least 0; 0.5 in both.
    """

    asks_d: ClassVar[bool] = True
    radius: float = 0.05
    d: float = 5.0
    g: float = 0.5

    def check(self) -> None:
        """Refuse steps and weights that mean nothing."""
        positive("zcr", radius=self.radius)
        if self.d < 0 or self.g < 0 or self.d + self.g == 0:
            raise UsageError(
                f"technique 'zcr': d and g must be at least 0 and not both 0, got d={self.d} and g={self.g}"
            )

    def d_term(self, latent: Latent) -> Tensor | None:
        """`d` * the squared difference of D's logits at both samples."""
        if latent.critic is None or not self.d:
            return None
        with torch.no_grad():
            fake, near = latent.make(latent.z), latent.make(self._near(latent))
        return self.d * gap(latent.critic(fake, like="fake"), latent.critic(near, like="fake"))

    def g_term(self, latent: Latent) -> Tensor | None:
        """`-g` * the squared difference of both samples."""
        if not self.g:
            return None
        return -self.g * gap(latent.make(latent.z), latent.make(self._near(latent)))

    def _near(self, latent: Latent) -> Tensor:
        z = latent.z
        return z + self.radius * torch.randn(z.shape, device=z.device, dtype=z.dtype, generator=latent.generator)
