"""L2: a penalty on the squares of the weights of D, of G or of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gandiag.techniques._weights import check_strengths, weights_of
from gandiag.techniques.base import Card, Technique, technique


def half_squares(weights: Sequence[Float[Tensor, ...]]) -> Float[Tensor, ""]:
    """Half the sum of the squares of all elements, 0-dim: its gradient in a weight is that weight.

    Source: Krogh and Hertz 1991, A simple weight decay can improve generalization.
    """
    return torch.stack([w.square().sum() for w in weights]).sum() / 2


@technique(
    Card(
        name="l2",
        summary="Adds strength/2 times the sum of squared weights to D's loss, to G's or to both.",
        treats={"GD301": 0.35, "GD303": 0.25, "GD201": 0.2},
        source="Krogh and Hertz 1991, A simple weight decay can improve generalization, NeurIPS 4",
        seams=("gradients",),
        cost=1.25,
        cautions=(
            "does nothing but raise the effective learning rate of weights that a normalisation divides by their size "
            "(spectral or weight norm, or a batch norm right after them)",
            "with Adam it is not decoupled weight decay: AdamW's numbers do not carry over",
        ),
        snippet="""\
loss_d = loss_d + {d} / 2 * sum(w.square().sum() for w in D.parameters() if w.ndim > 1)
loss_g = loss_g + {g} / 2 * sum(w.square().sum() for w in G.parameters() if w.ndim > 1)""",
    )
)
@dataclass
class L2(Technique):
    """Weight decay as a penalty.

    Attributes:
        d: strength on D, 0 for none; what `weight_decay` is in torch's SGD and Adam.
        g: strength on G, likewise.
    """

    d: float = 1e-4
    g: float = 0.0

    def check(self) -> None:
        """Refuse strengths that mean nothing."""
        check_strengths("l2", d=self.d, g=self.g)

    def weights_loss(self, *, role: str, nets: list[nn.Module]) -> Tensor | None:
        """Strength / 2 * sum w^2."""
        strength = self.d if role == "d" else self.g
        return strength * half_squares(weights_of(nets)) if strength > 0 else None
