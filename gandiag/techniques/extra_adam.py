"""ExtraAdam: look where the game is going, and step from here along the gradient of there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gandiag.errors import UsageError
from gandiag.techniques._steps import ROLES, Moments, check_betas, check_rate, check_which, descents
from gandiag.techniques.base import Card, Technique, technique


@technique(
    Card(
        name="extra_adam",
        summary="Steps D and G with the extragradient method along Adam's direction, in place of their optimizers.",
        treats={"GD203": 0.45, "GD105": 0.3},
        source="Gidel et al. 2019, arXiv:1802.10551, Algorithm 4",
        seams=("optimizer",),
        cost=1.1,
        cautions=(
            "every second step only looks ahead: the weights advance half as often, unless past=1",
            "after an odd step, or any step with past=1, the networks hold the point looked at, not the one kept",
            "the script's optimizer keeps no moments, so neither do its checkpoints",
        ),
        snippet="""\
beta1, beta2, eps, lr = {beta1}, {beta2}, {eps}, {lr} or lr_script   # for: {which}
past = {past}
def move(p):                                                         # m, v, t: dicts of zeros
    m[p] = beta1 * m[p] + (1 - beta1) * p.grad
    v[p] = beta2 * v[p] + (1 - beta2) * p.grad.square()
    t[p] += 1
    return lr * m[p] / (1 - beta1 ** t[p]) / ((v[p] / (1 - beta2 ** t[p])).sqrt() + eps)
for p in parameters:                                                 # in place of step(); kept: a dict, empty at first
    here = kept.pop(p, None)
    if here is not None or past:                                     # step from what was kept
        p.data = (p.data if here is None else here) - move(p)
    if here is None or past:                                         # look ahead
        kept[p] = p.detach().clone()
        p.data -= move(p)""",
    )
)
@dataclass
class ExtraAdam(Technique):
    """Adam with extrapolation; its moments take in the gradients of both points.

    Attributes:
        which: "both", "d" or "g".
        past: 0 looks ahead along a gradient of its own at each second step; 1 looks ahead at every step along the
            gradient of the last look (extrapolation from the past).
        beta1: of the first moment, in [0, 1).
        beta2: of the second moment, in [0, 1).
        lr: above zero, or 0 for the script's own, whose schedule is then followed.
        eps: added to the denominator, above zero.
    """

    which: str = "both"
    past: int = 0
    beta1: float = 0.5
    beta2: float = 0.9
    lr: float = 0.0
    eps: float = 1e-8
    _moments: Moments = field(init=False, repr=False, compare=False)
    _kept: dict[nn.Parameter, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._moments = Moments(self.beta1, self.beta2, self.eps)

    def check(self) -> None:
        """Refuse settings that are not ExtraAdam's."""
        check_which("extra_adam", self.which)
        check_rate("extra_adam", self.lr)
        check_betas("extra_adam", self.beta1, self.beta2, self.eps)
        if self.past not in (0, 1):
            raise UsageError(f"technique 'extra_adam': past must be 0 or 1, got {self.past}")

    def steps(self) -> tuple[str, ...]:
        """Those of `which`."""
        return ROLES[self.which]

    @torch.no_grad()
    def take_step(self, *, role: str, groups: list[dict[str, Any]]) -> None:
        """The gradients are those of the point looked at, if there was a look; move what was kept then."""
        for p, its in descents(groups, lr=self.lr):
            kept = self._kept.pop(p, None)
            if kept is None and not self.past:
                self._kept[p] = p.detach().clone()
                p.mul_(its.shrink).sub_(its.lr * self._moments.direction(p, its.gradient))
                continue
            move = its.lr * self._moments.direction(p, its.gradient)
            p.copy_((p if kept is None else kept) * its.shrink - move)
            if self.past:
                self._kept[p] = p.detach().clone()
                p.mul_(its.shrink).sub_(its.lr * self._moments.direction(p, its.gradient))
