"""How far an optimizer step moves the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gandiag.loop import Observer, Step
from gandiag.probes.base import Names, Probe, Row, probe
from gandiag.probes.gradients import all_norms

#: Of a large net the copy is what costs most of all that is measured.
EVERY = 50


@probe("updates")
class Updates(Probe):
    """Columns `update/{d,g}`: |step| / |weights|, in each 50th iteration: it copies the parameters once."""

    def __init__(self) -> None:
        self._names = Names()
        self._before: list[tuple[nn.Parameter, Tensor]] = []

    def before_step(self, step: Step, row: Row, observer: Observer) -> None:
        """Keep the weights."""
        if step.iteration % EVERY == 1 and step.role != "both":
            self._before = [(p, p.detach().clone()) for _, p in self._names.of(step, observer) if p.grad is not None]

    def after_step(self, step: Step, row: Row, observer: Observer) -> None:
        """Compare."""
        if not self._before:
            return
        with torch.no_grad():
            weights = torch.stack(all_norms([before for _, before in self._before])).norm()
            moved = torch.stack(all_norms([p - before for p, before in self._before])).norm()
            row.scalars[f"update/{step.role}"] = moved / weights.clamp_min(1e-30)
        self._before = []
