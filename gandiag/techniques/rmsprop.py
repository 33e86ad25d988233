"""RMSprop in place of the script's optimizer, for D, for G or for both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import optim

from gandiag.errors import UsageError
from gandiag.techniques._steps import ROLES, Instead, check_rate, check_which
from gandiag.techniques.base import Card, Technique, positive, technique


@technique(
    Card(
        name="rmsprop",
        summary="Steps D, G or both with RMSprop, which has no momentum, in place of the script's optimizer.",
        treats={"GD203": 0.2},
        source="Tieleman and Hinton 2012, lecture 6.5; Arjovsky et al. 2017 (WGAN), arXiv:1701.07875, section 4",
        seams=("optimizer",),
        cost=1.0,
        cautions=(
            "meant against momentum on D with a Wasserstein loss; adam with beta1=0 has none either, and a bias "
            "correction besides",
            "WGAN's own rate is 5e-5; a rate that suits SGD is far too large",
            "the script's optimizer keeps no state, so neither do its checkpoints",
        ),
        snippet="""\
# For {which}: leave out the line of whoever is not meant.
optimizer_d = torch.optim.RMSprop(D.parameters(), lr={lr} or lr_d, alpha={alpha}, eps={eps})
optimizer_g = torch.optim.RMSprop(G.parameters(), lr={lr} or lr_g, alpha={alpha}, eps={eps})""",
    )
)
@dataclass
class RMSprop(Technique):
    """torch.optim.RMSprop over the script's parameter groups.

    Attributes:
        which: "both", "d" or "g".
        alpha: decay of the mean of squared gradients, in [0, 1).
        lr: above zero, or 0 for the script's own, whose schedule is then followed.
        eps: added to the denominator, above zero.
    """

    which: str = "both"
    alpha: float = 0.99
    lr: float = 0.0
    eps: float = 1e-8
    _own: Instead = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._own = Instead(lambda groups: optim.RMSprop(groups, alpha=self.alpha, eps=self.eps))

    def check(self) -> None:
        """Refuse settings that are not RMSprop's."""
        check_which("rmsprop", self.which)
        check_rate("rmsprop", self.lr)
        positive("rmsprop", eps=self.eps)
        if not 0 <= self.alpha < 1:
            raise UsageError(f"technique 'rmsprop': alpha must lie in [0, 1), got {self.alpha}")

    def steps(self) -> tuple[str, ...]:
        """Those of `which`."""
        return ROLES[self.which]

    def take_step(self, *, role: str, groups: list[dict[str, Any]]) -> None:
        """RMSprop's step."""
        self._own.step(groups, lr=self.lr)
