"""Mode seeking: G is asked to keep apart what its latents keep apart."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from gandiag.techniques.base import Card, Latent, Technique, positive, technique

#: Under the fraction, as in the authors' code: a G that has collapsed would divide by zero.
EPSILON = 1e-5


def seeking_loss(
    z: Float[Tensor, "n ..."], other_z: Float[Tensor, "n ..."], *, made: Float[Tensor, "n ..."], other: Tensor
) -> Float[Tensor, ""]:
    """`1 / (d(x_1, x_2) / d(z_1, z_2) + ε)` of n pairs, 0-dim.

    Distances are means of absolute differences over all elements of all pairs.

    Source: Mao et al. 2019, arXiv:1903.05628, Eq. 2, in the form of the authors' code, which minimises its inverse.

    Args:
        z: latents.
        other_z: other ones, each of a pair with that of its row.
        made: what G makes of the first, under the same condition as of the others.
        other: what it makes of the others.
    """
    return 1 / ((made - other).abs().mean() / (z - other_z).abs().mean() + EPSILON)


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
            "a conditional generator is called twice more, as both of a pair must have the same label",
            "the gradient is largest where G has collapsed: begin with a small weight where it explodes",
        ),
        snippet="""\
z1, z2 = z.chunk(2)                         # a conditional G: z1, z2 = z, z.roll(1, 0)
x1, x2 = G(z).chunk(2)                      #                  x1, x2 = G(z1, y), G(z2, y)
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
        """`weight` * the inverse of the ratio of distances, for one more forward of the same latents.

        Without labels the halves of the batch are the pairs, and a last row without a partner is left out. With labels
        each is made once more with the latent of another row, so that both of a pair have the same label.
        """
        z, half = latent.z, len(latent.z) // 2
        if not half:
            return None
        made = latent.make(z)
        if latent.labelled:
            other_z = z.roll(1, 0)
            return self.weight * seeking_loss(z, other_z, made=made, other=latent.make(other_z))
        (z1, z2), (x1, x2) = z[: 2 * half].chunk(2), made[: 2 * half].chunk(2)
        return self.weight * seeking_loss(z1, z2, made=x1, other=x2)
