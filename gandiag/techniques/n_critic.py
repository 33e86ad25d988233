"""n_critic: several steps of D for each of G."""

from __future__ import annotations

from dataclasses import dataclass, field

from gandiag.errors import UsageError
from gandiag.techniques.base import Card, Technique, technique


@technique(
    Card(
        name="n_critic",
        summary="Leaves out G's steps until D has taken n.",
        treats={"GD202": 0.6, "GD104": 0.15},
        source="Arjovsky et al. 2017 (WGAN), arXiv:1701.07875, Algorithm 1; Goodfellow et al. 2014, arXiv:1406.2661, "
        "Algorithm 1",
        seams=("optimizer",),
        cost=1.0,
        cautions=(
            "makes a D that is too strong stronger, unless its loss is a Wasserstein loss with a bounded slope",
            "a G that steps once in n rounds needs n times as many rounds",
            "on top of ttur it does the same thing twice",
        ),
        conflicts=("adaptive_n_critic",),
        snippet="""\
if iteration % {n} == 0:   # counting from 1
    optimizer_g.step()""",
    )
)
@dataclass
class NCritic(Technique):
    """G steps after each n-th step of D.

    Attributes:
        n: steps of D for each of G, two or more.
    """

    n: int = 5
    _since: int = field(default=0, init=False, repr=False)
    _stepped: bool = field(default=False, init=False, repr=False)

    def check(self) -> None:
        """Refuse what leaves nothing out."""
        if self.n < 2:
            raise UsageError(f"technique 'n_critic': n must be 2 or more, got {self.n}")

    def skips(self, *, role: str) -> bool:
        """G's step, while D has taken fewer than n since the last one."""
        if role == "d":
            # Reset here and not at G's step: G may have several optimizers, which all step or all wait.
            self._since = 1 if self._stepped else self._since + 1
            self._stepped = False
            return False
        self._stepped = self._since >= self.n
        return not self._stepped
