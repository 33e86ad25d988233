"""GD104: all samples, or nearly all, are the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gandiag.analyzers._series import bin_medians, last_streak
from gandiag.analyzers.base import Array, Evidence, Finding, Skipped, analyzer

POINT = 0.1
"""Two fakes are typically closer than this part of the distance between two reals."""
WITHIN_MODE = 0.25
"""...and closer than this part of the distance between two reals of one mode. A generator that makes one mode well
is not a point: its modes are missing (GD101)."""
SHRUNKEN = 0.5
"""As GD103's: the typical spread within modes below which near-repetitions are its business."""
FLAT = 0.02
"""Without snapshots: the standard deviation of a fake batch over that of a real batch."""
REPEATED = 0.5
"""Share of the fakes that (nearly) repeat another fake, beyond what the data themselves do."""


@analyzer("GD104", name="point-collapse")
def point_collapse(run: Evidence) -> Iterator[Finding | Skipped]:
    """The generator answers (almost) every latent vector with the same sample, or with a handful of them."""
    if not run.steps:
        yield from _from_batches(run)
        return
    limit = POINT if not np.isfinite(run.mode_closeness) else min(POINT, WITHIN_MODE * run.mode_closeness)
    start = last_streak(run.closeness < limit)
    if start is not None:
        yield _finding(
            run,
            start,
            "critical",
            f"(Almost) all samples are the same: two of them are typically {run.closeness[-1]:.1%} as far apart as two "
            f"real ones.",
        )
        return
    if len(run.spread) and np.nanmedian(np.append(run.spread[-1], 1.0)) < SHRUNKEN:
        return  # samples of shrunken modes lie close as well: that is GD103's
    repeats = _excess_duplicates(run)
    start = last_streak(repeats > REPEATED)
    if start is not None:
        lasting = len(repeats) - start >= 2
        yield _finding(
            run,
            start,
            "critical" if lasting and repeats[-1] > 0.8 else "warning",
            f"{repeats[-1]:.0%} of the samples (nearly) repeat another sample: the generator knows only a handful.",
        )


def _excess_duplicates(run: Evidence) -> Array:
    """[S] share of repeating fakes beyond the share of repeating reals; zeros where it was not measured."""
    measures = run.series.get("duplicates", ())
    if len(measures) != len(run.steps):
        return np.zeros(len(run.steps))
    return np.array([np.nan_to_num(m.value - np.nan_to_num(m.null)) for m in measures])


def _finding(run: Evidence, start: int, severity: str, message: str) -> Finding:
    lasting = len(run.steps) - start >= 2
    first_step = run.steps[start]
    vendi = run.values("vendi")
    return Finding(
        severity="critical" if severity == "critical" else "warning",
        confidence="high" if lasting else "medium",
        first_step=first_step,
        last_step=run.steps[-1],
        message=message,
        evidence={
            "distance_over_real": float(run.closeness[-1]),
            "vendi": float(vendi[-1]) if len(vendi) else None,
            "vendi_of_real": run.series["vendi"][-1].null if len(vendi) else None,
            "repeating_share": float(_excess_duplicates(run)[-1]),
            "last_healthy_snapshot": run.last_healthy(first_step),
        },
    )


def _from_batches(run: Evidence) -> Iterator[Finding | Skipped]:
    # No snapshot: the probe of every batch still sees whether the samples differ at all.
    steps, ratio = run.column("sample/std_ratio")
    if len(ratio) < 20:
        yield Skipped(because="no snapshot of samples was recorded, so nothing is known about diversity")
        return
    starts, level = bin_medians(steps, ratio, bins=min(50, len(ratio)))
    start = last_streak(level < FLAT)
    if start is None or len(level) - start < 3:
        yield Skipped(
            because="no snapshot of samples was recorded; the batches are not all the same, but that is all they say"
        )
        return
    yield Finding(
        severity="critical",
        confidence="medium",
        first_step=int(starts[start]),
        last_step=run.iterations,
        message=f"The samples within a batch are (almost) the same: they spread {level[-1]:.1%} as wide as real ones.",
        evidence={"std_ratio": float(level[-1]), "last_healthy_snapshot": None},
    )
