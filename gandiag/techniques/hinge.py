"""Hinge loss: D stops pushing where a sample is on its right side by a margin of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from gandiag.techniques.base import Batch, Card, Technique, technique


def hinge_d(*, real: Float[Tensor, ...], fake: Float[Tensor, ...]) -> Float[Tensor, ""]:
    """D's hinge loss, E relu(1 - D(real)) + E relu(1 + D(fake)), 0-dim; the two sides may differ in size.

    Source: Lim and Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, Eq. 16.
    """
    return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()


def hinge_g(*, fake: Float[Tensor, ...]) -> Float[Tensor, ""]:
    """G's loss, -E D(fake), 0-dim; same sources, Eq. 17."""
    return -fake.mean()


@technique(
    Card(
        name="hinge",
        summary="Replaces both losses by the hinge loss: D has a margin, and G's pull is the same wherever it is.",
        treats={"GD201": 0.35, "GD301": 0.3, "GD203": 0.2},
        source="Lim and Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, Eq. 16 and 17",
        seams=("gradients",),
        cost=1.35,
        cautions=(
            "nothing in it keeps D's slope bounded: it is at home with spectral_norm",
            "no remedy for missing modes by itself",
            "the losses that the script prints no longer say what is trained",
        ),
        conflicts=("label_smoothing",),
        snippet="""\
loss_d = F.relu(1 - D(x_real)).mean() + F.relu(1 + D(x_fake.detach())).mean()   # logits; D's step
loss_g = -D(G(z)).mean()                                                        # G's step""",
    )
)
@dataclass
class Hinge(Technique):
    """The hinge loss in place of the script's adversarial losses; it has no parameters."""

    takes_over: ClassVar[bool] = True

    def d_loss(self, batch: Batch) -> Tensor:
        """E relu(1 - D(real)) + E relu(1 + D(fake))."""
        return hinge_d(real=batch.critic(batch.real), fake=batch.critic(batch.fake, like="fake"))

    def g_loss(self, batch: Batch) -> Tensor:
        """-E D(fake)."""
        return hinge_g(fake=batch.critic(batch.fake, like="fake"))

    def loss_at(self, logits: Tensor, *, side: str, weight: Tensor) -> Tensor:
        """relu(1 - l), relu(1 + l) and -l, in the mean."""
        if side == "g":
            return hinge_g(fake=logits)
        return functional.relu(1 - logits if side == "real" else 1 + logits).mean()
