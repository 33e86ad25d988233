"""Learning-rate decay: linear or along a cosine, for both players."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from gandiag.errors import UsageError
from gandiag.techniques.base import Card, Technique, positive, technique

SHAPES = ("linear", "cosine")


def decay(step: int, *, after: int, over: int, to: float, shape: str) -> float:
    """What the rate is multiplied by at a step counted from 0: 1 until `after`, `to` from `after + over` on.

    Source: linear: Zhu et al. 2017, arXiv:1703.10593, section 4; cosine: Loshchilov and Hutter 2017,
    arXiv:1608.03983, Eq. 5.
    """
    done = min(max(step - after, 0) / over, 1.0)
    left = 1 - done if shape == "linear" else (1 + math.cos(math.pi * done)) / 2
    return to + (1 - to) * left


@technique(
    Card(
        name="lr_decay",
        summary="Lets the learning rates of D and G fall, along a line or a cosine.",
        treats={"GD203": 0.35, "GD105": 0.25},
        source="Zhu et al. 2017, arXiv:1703.10593, section 4; Loshchilov and Hutter 2017, arXiv:1608.03983, Eq. 5",
        seams=("optimizer",),
        cost=1.1,
        cautions=(
            "over must fit the length of the training: beyond its end the rates stay at `to`, and at 0 nothing learns",
            "on top of a scheduler of the script's both decays are multiplied",
            "freezes an oscillation where it is, and does not say whether that is a good place",
        ),
        snippet="""\
# A line; you asked for: {shape}.
factor = lambda step: {to} + (1 - {to}) * (1 - min(max(step - {after}, 0) / {over}, 1.0))
scheduler_d = torch.optim.lr_scheduler.LambdaLR(optimizer_d, factor)   # scheduler_d.step() after optimizer_d.step()
scheduler_g = torch.optim.lr_scheduler.LambdaLR(optimizer_g, factor)   # scheduler_g.step() after optimizer_g.step()""",
    )
)
@dataclass
class LrDecay(Technique):
    """A falling factor on the script's rates; each player counts its own steps.

    Attributes:
        over: steps that the fall takes, above zero.
        to: the factor at its end, in [0, 1).
        after: steps before it begins.
        shape: "linear" or "cosine".
    """

    over: int = 100_000
    to: float = 0.0
    after: int = 0
    shape: str = "linear"
    _steps: dict[str, int] = field(default_factory=lambda: {"d": 0, "g": 0}, init=False, repr=False)

    def check(self) -> None:
        """Refuse falls that are none."""
        positive("lr_decay", over=self.over)
        if not 0 <= self.to < 1:
            raise UsageError(f"technique 'lr_decay': to must lie in [0, 1), got {self.to}")
        if self.after < 0:
            raise UsageError(f"technique 'lr_decay': after must be 0 or more, got {self.after}")
        if self.shape not in SHAPES:
            raise UsageError(f"technique 'lr_decay': shape must be {' or '.join(SHAPES)}, got {self.shape!r}")

    def options(self, *, role: str, own: Mapping[str, Any]) -> dict[str, Any]:
        """The script's rate times the factor of this role's step."""
        factor = decay(self._steps[role], after=self.after, over=self.over, to=self.to, shape=self.shape)
        return {"lr": own["lr"] * factor}

    # Counted here and not in `options`, which is asked once for each group of parameters.

    def after_d_step(self, d_nets: list[nn.Module]) -> None:
        """One more step of D."""
        self._steps["d"] += 1

    def after_g_step(self, g_nets: list[nn.Module]) -> None:
        """One more step of G."""
        self._steps["g"] += 1
