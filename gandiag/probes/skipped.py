"""Optimizer steps that a GradScaler left out."""

from __future__ import annotations

from torch import Tensor

from gandiag.loop import Observer, Step
from gandiag.probes.base import Probe, Row, probe


@probe("skipped")
class Skipped(Probe):
    """Columns `skipped/{d,g}`: how many steps of an iteration moved nothing, as a gradient was not finite.

    Only where a `torch.amp.GradScaler` is at work. It does not call an ordinary optimizer at all; a fused one it does
    call, and the kernel itself leaves the weights alone where the tensor `found_inf`, which stays on its device, is 1.
    """

    def before_step(self, step: Step, row: Row, observer: Observer) -> None:
        """Add what is known of this step to the iteration's count."""
        if not observer.passes.scaling:
            return
        found = getattr(step.optimizer, "found_inf", None)
        # It is summed over the devices of the parameters.
        skipped: Tensor | float = (found > 0).float() if isinstance(found, Tensor) else float(step.skipped)
        for role in ("d", "g") if step.role == "both" else (step.role,):
            row.scalars[f"skipped/{role}"] = row.scalars.get(f"skipped/{role}", 0.0) + skipped
