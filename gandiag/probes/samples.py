"""The spread of a fake batch over that of a real one: the cheapest sign of a collapse."""

from __future__ import annotations

from torch import Tensor

from gandiag.loop import Observer, Step
from gandiag.loop.calls import Kind
from gandiag.probes.base import Probe, Row, now_and_then, probe

#: Values of each sample that are looked at: the spread of 4,096 pixels tells that of a million.
MOST = 4096


@probe("samples")
class Samples(Probe):
    """Column `sample/std_ratio`: mean std of the fake batch over the real batch's, now and then."""

    def before_step(self, step: Step, row: Row, observer: Observer) -> None:
        """Compare what D saw as real and as fake in this step."""
        if step.role == "g" or not now_and_then(step.iteration):
            return
        real = next((c.main_input for c in step.of(Kind.REAL)), None)
        fake = next((c.main_input for c in step.of(Kind.FAKE)), None)
        if real is not None and fake is not None and min(len(real), len(fake)) > 1:
            row.scalars["sample/std_ratio"] = _spread(fake) / _spread(real).clamp_min(1e-12)


def _spread(x: Tensor) -> Tensor:
    flat = x.flatten(1)
    if flat.shape[1] > MOST:
        flat = flat[:, :: -(-flat.shape[1] // MOST)]
    return flat.float().std(dim=0).mean()
