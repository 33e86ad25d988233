"""Lookahead-minmax: every k rounds both players go back part of the way that they have come together."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gandiag.errors import UsageError
from gandiag.techniques.base import Beside, Card, Technique, positive, technique


@technique(
    Card(
        name="lookahead",
        summary="Every k rounds pulls D's and G's weights back together towards where they were k rounds ago.",
        treats={"GD203": 0.45, "GD105": 0.3},
        source="Chavdarova et al. 2021, arXiv:2006.14567, Algorithm 1",
        seams=("after_step",),
        cost=1.05,
        cautions=(
            "between two pulls the networks hold the fast weights: sample right after a pull",
            "the slow weights are not in the script's checkpoints: a resumed run starts them from the fast ones",
        ),
        # It would put back a point that lookahead has left; and the weights that the others add would stay fast.
        conflicts=("extra_adam", "pacgan", "minibatch_discrimination", "minibatch_stddev"),
        snippet="""\
slow = [p.detach().clone() for p in (*G.parameters(), *D.parameters())]   # before the loop
if iteration % {k} == 0:                                                  # after G's step, counting from 1
    for p, s in zip((*G.parameters(), *D.parameters()), slow):
        s += {alpha} * (p.detach() - s)
        p.data.copy_(s)""",
    )
)
@dataclass
class Lookahead(Technique):
    """Lookahead on both players at once; optimizer states and buffers stay as they are.

    Attributes:
        k: rounds from one pull to the next, two or more.
        alpha: how much of the way is kept, in (0, 1).
    """

    k: int = 5
    alpha: float = 0.5
    _slow: dict[nn.Parameter, Tensor] = field(default_factory=dict, init=False, repr=False)
    _rounds: int = field(default=0, init=False, repr=False)

    def check(self) -> None:
        """Refuse what would not look ahead."""
        positive("lookahead", k=self.k)
        if self.k < 2 or not 0 < self.alpha < 1:
            raise UsageError(
                f"technique 'lookahead': k must be 2 or more and alpha lie between 0 and 1, got k={self.k} and "
                f"alpha={self.alpha}"
            )

    # The slow weights begin where training does: G's are there at the start, each D's before its first forward.

    def start(self, g_nets: list[nn.Module]) -> None:
        """Remember G's weights."""
        self._remember(g_nets)

    def prepare(self, d: nn.Module, *, beside: Beside, generator: torch.Generator) -> None:
        """Remember D's weights."""
        self._remember([d])

    @torch.no_grad()
    def after_iteration(self, *, g_nets: list[nn.Module], d_nets: list[nn.Module]) -> None:
        """At each k-th round, slow += alpha * (fast - slow), and the fast weights start from there."""
        self._rounds += 1
        if self._rounds % self.k:
            return
        nets = [*g_nets, *d_nets]
        self._remember(nets)
        for p in dict.fromkeys(p for net in nets for p in net.parameters()):
            p.copy_(self._slow[p].lerp_(p, self.alpha))

    def _remember(self, nets: list[nn.Module]) -> None:
        for net in nets:
            for p in net.parameters():
                if p not in self._slow:
                    self._slow[p] = p.detach().clone()
