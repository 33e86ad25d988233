"""Mode seeking: G is asked to keep apart what its latents keep apart."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from gandiag.techniques.base import Card, Latent, Technique, positive, technique

#: Under the fraction, as in the authors' code: a G that has collapsed would divide by zero.
EPSILON = 1e-5


def seeking_loss(z: Float[Tensor, "n ..."], made: Float[Tensor, "n ..."]) -> Float[Tensor, ""]:
    """`1 / (d(x_1, x_2) / d(z_1, z_2) + ε)` between the halves of a batch, 0-dim.

    Distances are means of absolute differences over all elements of all pairs. A last row without a partner is left
    out.

    Source: Mao et al. 2019, arXiv:1903.05628, Eq. 2, in the form of the authors' code, which minimises its inverse.

    Args:
        z: latents; row i of the first half is compared with row i of the second one.
        made: what G makes of them.
    """
    half = len(z) // 2
    apart = (made[:half] - made[half : 2 * half]).abs().mean()
    latents = (z[:half] - z[half : 2 * half]).abs().mean()
    return 1 / (apart / latents + EPSILON)


@technique(
    Card(
        name="mode_seeking",
        summary="Adds to G's loss the inverse of how far apart samples lie for latents that lie apart (MSGAN).",
        treats={"GD104": 0.4, "GD101": 0.25, "GD103": 0.3},
        source="Mao et al. 2019, arXiv:1903.05628, Eq. 2",
        seams=("gradients",),
        cost=1.4,
        cautions=(
            "made for conditional generators that ignore z; without a condition it also pushes samples off the modes",
            "the gradient is largest where G has collapsed: begin with a small weight where it explodes",
        ),
        snippet="""\
z1, z2 = z.chunk(2)
x1, x2 = G(z).chunk(2)
apart = (x1 - x2).abs().mean() / (z1 - z2).abs().mean()
loss_g = loss_g + {weight} / (apart + 1e-5)""",
    )
)
@dataclass
class ModeSeeking(Technique):
    """Mode seeking regularisation, MSGAN.

    Attributes:
        weight: above zero; 1 in the paper.
    """

    weight: float = 1.0

    def check(self) -> None:
        """Refuse weights that mean nothing."""
        positive("mode_seeking", weight=self.weight)

    def g_term(self, latent: Latent) -> Tensor | None:
        """`weight` * the inverse of the ratio of distances, for one more forward of the same latents."""
        if len(latent.z) < 2:
            return None
        return self.weight * seeking_loss(latent.z, latent.make(latent.z))
