"""Losses, found without the user's help: the scalars whose backward() fed each optimizer step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gandiag.loop import Observer, Step
from gandiag.probes.base import Probe, Row, probe, together


@probe("losses")
class Losses(Probe):
    """Columns `loss/d` and `loss/g`: the sum over the backward passes of a step, the last one of an iteration."""

    def before_step(self, step: Step, row: Row, observer: Observer) -> None:
        """Sum the scalars on their device."""
        if step.losses:
            row.scalars["loss/" + ("g" if step.role == "g" else "d")] = total(step.losses)


def total(losses: Sequence[Tensor | float]) -> Tensor | float:
    """The sum of the losses of one step, 0-dim float32; of one loss the loss itself.

    Args:
        losses: at least one, each a number or a tensor of one, on any device.
    """
    if len(losses) == 1:
        return losses[0]
    return torch.stack(together([torch.as_tensor(loss).float().reshape(()) for loss in losses])).sum()
