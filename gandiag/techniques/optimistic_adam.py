"""Optimistic Adam: twice the step of now, less the step before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gandiag.techniques._steps import ROLES, Moments, check_betas, check_rate, check_which, descents
from gandiag.techniques.base import Card, Technique, technique


@technique(
    Card(
        name="optimistic_adam",
        summary="Steps D and G with optimistic Adam, which foresees the other's answer, in place of their optimizers.",
        treats={"GD203": 0.45, "GD105": 0.3},
        source="Daskalakis et al. 2018, arXiv:1711.00141, Algorithm 1",
        seams=("optimizer",),
        cost=1.2,
        cautions=(
            "proved to end cycles in bilinear games; with networks and small batches the gain is smaller",
            "a learning rate that suits SGD is far too large: then give lr",
            "the script's optimizer keeps no moments, so neither do its checkpoints",
        ),
        snippet="""\
beta1, beta2, eps, lr = {beta1}, {beta2}, {eps}, {lr} or lr_script   # for: {which}
for p in parameters:               # after backward(), in place of step(); m, v, last: dicts of zeros; t counts from 1
    m[p] = beta1 * m[p] + (1 - beta1) * p.grad
    v[p] = beta2 * v[p] + (1 - beta2) * p.grad.square()
    move = m[p] / (1 - beta1**t) / ((v[p] / (1 - beta2**t)).sqrt() + eps)
    p.data -= lr * (2 * move - last[p])
    last[p] = move""",
    )
)
@dataclass
class OptimisticAdam(Technique):
    """Optimistic mirror descent along Adam's direction.

    Attributes:
        which: "both", "d" or "g".
        beta1: of the first moment, in [0, 1).
        beta2: of the second moment, in [0, 1).
        lr: above zero, or 0 for the script's own, whose schedule is then followed.
        eps: added to the denominator, above zero.
    """

    which: str = "both"
    beta1: float = 0.5
    beta2: float = 0.9
    lr: float = 0.0
    eps: float = 1e-8
    _moments: Moments = field(init=False, repr=False, compare=False)
    _last: dict[nn.Parameter, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._moments = Moments(self.beta1, self.beta2, self.eps)

    def check(self) -> None:
        """Refuse settings that are not Adam's."""
        check_which("optimistic_adam", self.which)
        check_rate("optimistic_adam", self.lr)
        check_betas("optimistic_adam", self.beta1, self.beta2, self.eps)

    def steps(self) -> tuple[str, ...]:
        """Those of `which`."""
        return ROLES[self.which]

    @torch.no_grad()
    def take_step(self, *, role: str, groups: list[dict[str, Any]]) -> None:
        """-2 lr * u(t) + lr * u(t - 1), u being Adam's direction, and nothing before the first step."""
        for p, its in descents(groups, lr=self.lr):
            move = self._moments.direction(p, its.gradient)
            last = self._last.get(p)
            p.mul_(its.shrink).sub_(its.lr * (2 * move if last is None else 2 * move - last))
            self._last[p] = move
