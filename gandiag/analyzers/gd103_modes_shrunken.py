"""GD103: the modes are there, but within each of them the samples are too much alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gandiag.analyzers._series import last_streak
from gandiag.analyzers.base import Array, Evidence, Finding, Skipped, analyzer

SHRUNKEN = 0.5
"""A mode whose samples spread less than this part of the real spread is shrunken."""
CRUSHED = 0.25
"""Below this median ratio there is next to no variety left within a mode: critical."""
DENSE = 1.5
"""Density over its null. Shrinking drives it up (a tenth less spread nearly triples it at d = 64) and junk drives it
down: the signed witness that tells shrunken modes from blurred ones. In two dimensions it hardly moves, so..."""
UNREACHED, CLEAN = 0.5, 0.8
"""...recall below half of its null while precision is not low is a witness as well."""


@analyzer("GD103", name="modes-shrunken")
def modes_shrunken(run: Evidence) -> Iterator[Finding | Skipped]:
    """Modes that are present but lost most of the variety within them (coverage is blind to this)."""
    if not run.steps:
        yield Skipped(because="no snapshot of samples was recorded, so nothing is known about diversity")
        return
    if len(run.real_shares) < 1 or not np.isfinite(run.spread[-1]).any():
        yield Skipped(because="no mode holds enough samples to measure the spread within it")
        return
    typical = np.array([_weighted_median(row, run.real_shares) for row in run.spread])
    density, recall, precision = (run.over_null(name) for name in ("density", "recall", "precision"))
    seen = np.zeros(len(typical), dtype=bool)
    if len(density):
        seen |= density > DENSE
    if len(recall) and len(precision):
        seen |= (recall < UNREACHED) & (precision > CLEAN)
    small = np.nan_to_num(typical, nan=np.inf) < SHRUNKEN
    start = last_streak(small & seen)
    if start is None:
        return
    lasting = len(typical) - start >= 2
    shrunken = np.flatnonzero(np.nan_to_num(run.spread[-1], nan=np.inf) < SHRUNKEN)
    healthy = run.last_healthy(run.steps[start])
    yield Finding(
        severity="critical" if lasting and typical[-1] < CRUSHED else "warning",
        confidence="high" if lasting and typical[-1] < CRUSHED else "medium" if lasting else "low",
        first_step=run.steps[start],
        last_step=run.steps[-1],
        message=f"Within the modes the samples spread only {typical[-1]:.0%} as wide as the data "
        f"({len(shrunken)} of {len(run.real_shares)} modes are shrunken).",
        evidence={
            "typical_spread_ratio": float(typical[-1]),
            "shrunken_modes": shrunken.tolist(),
            "density_over_null": float(density[-1]) if len(density) else None,
            "recall_over_null": float(recall[-1]) if len(recall) else None,
            "last_healthy_snapshot": healthy,
        },
    )


def _weighted_median(values: Array, weights: Array) -> float:
    """The value that half the data's weight lies below: one tiny mode decides nothing. NaN where all are NaN."""
    known = np.isfinite(values)
    if not known.any():
        return float("nan")
    order = np.argsort(values[known])
    below = np.cumsum(weights[known][order])
    return float(values[known][order][np.searchsorted(below, below[-1] / 2)])
