"""Gradient clipping by the total norm, for both nets."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from gandiag.techniques.base import Card, Technique, positive, technique


@technique(
    Card(
        name="grad_clip",
        summary="Scales each net's gradient down where its total norm exceeds max_norm.",
        treats={"GD301": 0.6, "GD303": 0.5},
        source="Pascanu et al. 2013, arXiv:1211.5063, section 3.2",
        seams=("gradients",),
        cost=1.15,
        cautions=("treats the symptom, not the cause",),
        snippet="""\
torch.nn.utils.clip_grad_norm_(D.parameters(), {max_norm})   # before optimizer_d.step()
torch.nn.utils.clip_grad_norm_(G.parameters(), {max_norm})   # before optimizer_g.step()""",
    )
)
@dataclass
class GradClip(Technique):
    """Clipping by norm, after every other change of the gradients.

    Attributes:
        max_norm: the largest total L2 norm, above zero.
    """

    max_norm: float = 1.0

    def check(self) -> None:
        """Refuse norms that mean nothing."""
        positive("grad_clip", max_norm=self.max_norm)

    def clip(self, parameters: list[nn.Parameter]) -> None:
        """In place, over all the optimizer's parameters together."""
        nn.utils.clip_grad_norm_(parameters, self.max_norm)
