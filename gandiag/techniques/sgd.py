"""SGD in place of the script's optimizer, for D, for G or for both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import optim

from gandiag.errors import UsageError
from gandiag.techniques._steps import ROLES, Instead, check_rate, check_which
from gandiag.techniques.base import Card, Technique, technique


@technique(
    Card(
        name="sgd",
        summary="Steps D, G or both with SGD in place of the script's optimizer; by default D alone.",
        treats={"GD201": 0.25},
        source="Chintala et al. 2016, ganhacks, section 9 (SGD for D, Adam for G): practice, no paper",
        seams=("optimizer",),
        cost=1.05,
        cautions=(
            "a learning rate that suits Adam is ten to a hundred times too small for SGD: then give lr",
            "the evidence is a rule of thumb and forum reports",
            "the script's optimizer keeps no state, so neither do its checkpoints",
        ),
        snippet="""\
# For {which}: leave out the line of whoever is not meant.
optimizer_d = torch.optim.SGD(D.parameters(), lr={lr} or lr_d, momentum={momentum})
optimizer_g = torch.optim.SGD(G.parameters(), lr={lr} or lr_g, momentum={momentum})""",
    )
)
@dataclass
class SGD(Technique):
    """torch.optim.SGD over the script's parameter groups.

    Attributes:
        which: "both", "d" or "g".
        momentum: in [0, 1).
        lr: above zero, or 0 for the script's own, whose schedule is then followed.
    """

    which: str = "d"
    momentum: float = 0.0
    lr: float = 0.0
    _own: Instead = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._own = Instead(lambda groups: optim.SGD(groups, momentum=self.momentum))

    def check(self) -> None:
        """Refuse settings that are not SGD's."""
        check_which("sgd", self.which)
        check_rate("sgd", self.lr)
        if not 0 <= self.momentum < 1:
            raise UsageError(f"technique 'sgd': momentum must lie in [0, 1), got {self.momentum}")

    def steps(self) -> tuple[str, ...]:
        """Those of `which`."""
        return ROLES[self.which]

    def take_step(self, *, role: str, groups: list[dict[str, Any]]) -> None:
        """SGD's step."""
        self._own.step(groups, lr=self.lr)
