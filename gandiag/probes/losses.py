"""Losses, found without the user's help: the scalars whose backward() fed each optimizer step."""

from __future__ import annotations

import torch

from gandiag.loop import Observer, Step
from gandiag.probes.base import Probe, Row, probe


@probe("losses")
class Losses(Probe):
    """Columns `loss/d` and `loss/g`: the sum over the backward passes of a step, the last one of an iteration."""

    def before_step(self, step: Step, row: Row, observer: Observer) -> None:
        """Sum the scalars on their device."""
        if not step.losses:
            return
        total = step.losses[0] if len(step.losses) == 1 else torch.stack([x.float() for x in step.losses]).sum()
        row.scalars["loss/" + ("g" if step.role == "g" else "d")] = total
