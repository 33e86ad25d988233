"""Learning rates: a factor on D's and one on G's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gandiag.errors import UsageError
from gandiag.techniques.base import Card, Technique, positive, technique


@technique(
    Card(
        name="learning_rate",
        summary="Multiplies D's and G's learning rates by a factor each; by default both are halved.",
        treats={"GD203": 0.35, "GD301": 0.4, "GD303": 0.35, "GD105": 0.25},
        source="Mescheder et al. 2017, arXiv:1705.10461, section 3 (convergence needs small enough steps); practice",
        seams=("optimizer",),
        cost=1.15,
        cautions=(
            "a smaller rate hides a game that does not converge as often as it cures it: look again after as many "
            "times more steps",
            "a D made slower than G may become too weak; d=1,g=0.5 or ttur keeps them apart",
        ),
        conflicts=("ttur",),
        snippet="""\
for optimizer, factor in ((optimizer_d, {d}), (optimizer_g, {g})):   # before any scheduler is made
    for group in optimizer.param_groups:
        group["lr"] *= factor""",
    )
)
@dataclass
class LearningRate(Technique):
    """Factors on the script's own rates, whose schedules are followed.

    Attributes:
        d: of D, above zero; 1 leaves it as it is.
        g: of G, likewise.
    """

    d: float = 0.5
    g: float = 0.5

    def check(self) -> None:
        """Refuse factors that mean nothing."""
        positive("learning_rate", d=self.d, g=self.g)
        if self.d == self.g == 1:
            raise UsageError("technique 'learning_rate': d=1 and g=1 change nothing; give a factor for one of them")

    def options(self, *, role: str, own: Mapping[str, Any]) -> dict[str, Any]:
        """The script's rate times this role's factor."""
        return {"lr": own["lr"] * (self.d if role == "d" else self.g)}
