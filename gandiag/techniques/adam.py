"""Adam in place of the script's optimizer, with betas that suit a game."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import optim

from gandiag.techniques._steps import ROLES, Instead, check_betas, check_rate, check_which
from gandiag.techniques.base import Card, Technique, technique


@technique(
    Card(
        name="adam",
        summary="Steps D, G or both with Adam and the betas given, in place of the script's optimizer.",
        treats={"GD203": 0.4, "GD105": 0.25, "GD301": 0.2},
        source="Kingma and Ba 2015, arXiv:1412.6980; the betas: Radford et al. 2016, arXiv:1511.06434, section 4",
        seams=("optimizer",),
        cost=1.1,
        cautions=(
            "torch's own default of beta1 = 0.9 is what it is meant against; on a script that has 0.5 it does nothing",
            "a learning rate that suits SGD is ten to a hundred times too large for Adam: then give lr",
            "the script's optimizer keeps no moments, so neither do its checkpoints",
        ),
        snippet="""\
betas = ({beta1}, {beta2})   # for {which}: leave out the line of whoever is not meant
optimizer_d = torch.optim.Adam(D.parameters(), lr={lr} or lr_d, betas=betas, eps={eps})
optimizer_g = torch.optim.Adam(G.parameters(), lr={lr} or lr_g, betas=betas, eps={eps})""",
    )
)
@dataclass
class Adam(Technique):
    """torch.optim.Adam over the script's parameter groups.

    Attributes:
        which: "both", "d" or "g".
        beta1: of the first moment, in [0, 1); 0 is no momentum.
        beta2: of the second moment, in [0, 1).
        lr: above zero, or 0 for the script's own, whose schedule is then followed.
        eps: added to the denominator, above zero.
    """

    which: str = "both"
    beta1: float = 0.5
    beta2: float = 0.999
    lr: float = 0.0
    eps: float = 1e-8
    _own: Instead = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._own = Instead(lambda groups: optim.Adam(groups, betas=(self.beta1, self.beta2), eps=self.eps))

    def check(self) -> None:
        """Refuse settings that are not Adam's."""
        check_which("adam", self.which)
        check_rate("adam", self.lr)
        check_betas("adam", self.beta1, self.beta2, self.eps)

    def steps(self) -> tuple[str, ...]:
        """Those of `which`."""
        return ROLES[self.which]

    def take_step(self, *, role: str, groups: list[dict[str, Any]]) -> None:
        """Adam's step."""
        self._own.step(groups, lr=self.lr)
