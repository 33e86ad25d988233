"""L1: a penalty on the absolute values of the weights of D, of G or of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gandiag.techniques._weights import check_strengths, weights_of
from gandiag.techniques.base import Card, Technique, technique


def absolutes(weights: Sequence[Float[Tensor, ...]]) -> Float[Tensor, ""]:
    """The sum of the absolute values of all elements, 0-dim: its gradient in a weight is that weight's sign.

    Source: Tibshirani 1996, Regression shrinkage and selection via the lasso.
    """
    return torch.stack([w.abs().sum() for w in weights]).sum()


@technique(
    Card(
        name="l1",
        summary="Adds strength times the sum of absolute weights to D's loss, to G's or to both.",
        treats={"GD301": 0.25, "GD201": 0.2},
        source="Tibshirani 1996, Journal of the Royal Statistical Society B 58",
        seams=("gradients",),
        cost=1.3,
        cautions=(
            "pulls small weights as hard as large ones: too strong, it silences whole channels",
            "with Adam, whose steps do not grow with the gradient, it weighs more than its number says",
        ),
        snippet="""\
loss_d = loss_d + {d} * sum(w.abs().sum() for w in D.parameters() if w.ndim > 1)
loss_g = loss_g + {g} * sum(w.abs().sum() for w in G.parameters() if w.ndim > 1)""",
    )
)
@dataclass
class L1(Technique):
    """The lasso's penalty.

    Attributes:
        d: strength on D, 0 for none.
        g: strength on G, likewise.
    """

    d: float = 1e-5
    g: float = 0.0

    def check(self) -> None:
        """Refuse strengths that mean nothing."""
        check_strengths("l1", d=self.d, g=self.g)

    def weights_loss(self, *, role: str, nets: list[nn.Module]) -> Tensor | None:
        """Strength * sum |w|."""
        strength = self.d if role == "d" else self.g
        return strength * absolutes(weights_of(nets)) if strength > 0 else None
