"""Gradient clipping by value, for both nets."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from gandiag.techniques.base import Card, Technique, positive, technique


@technique(
    Card(
        name="grad_clip_value",
        summary="Cuts each element of each net's gradient to [-value, value].",
        treats={"GD301": 0.5, "GD303": 0.4},
        source="Mikolov 2012, thesis; reported by Pascanu et al. 2013, arXiv:1211.5063",
        seams=("gradients",),
        cost=1.2,
        cautions=(
            "treats the symptom, not the cause",
            "turns the direction of the gradient, as the elements beyond the bound lose more than the others",
        ),
        snippet="""\
torch.nn.utils.clip_grad_value_(D.parameters(), {value})   # before optimizer_d.step()
torch.nn.utils.clip_grad_value_(G.parameters(), {value})   # before optimizer_g.step()""",
    )
)
@dataclass
class GradClipValue(Technique):
    """Clipping element by element, after every other change of the gradients.

    Attributes:
        value: the largest absolute value, above zero.
    """

    value: float = 1.0

    def check(self) -> None:
        """Refuse bounds that mean nothing."""
        positive("grad_clip_value", value=self.value)

    def clip(self, parameters: list[nn.Parameter]) -> None:
        """In place, each element by itself."""
        nn.utils.clip_grad_value_(parameters, self.value)
