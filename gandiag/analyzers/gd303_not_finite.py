"""GD303: NaN or infinity in losses, gradients or samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gandiag.analyzers._series import last_streak
from gandiag.analyzers.base import Evidence, Finding, Skipped, analyzer

DEAD = 3
"""Iterations in a row at the end that hold non-finite numbers: the training does not come back."""
DEAD_SKIPPING = 17
"""The same where a GradScaler left those steps out: its scale of 65,536 is down to 1 after 16, and what still overflows
then overflows without it."""
OFTEN = 0.05
"""Share of the iterations. Mixed precision skips a step now and then by design, as its loss scale finds its level."""


@analyzer("GD303", name="not-finite")
def not_finite(run: Evidence) -> Iterator[Finding | Skipped]:
    """Numbers that are not finite: for good (training is dead), often, or now and then."""
    iterations = np.asarray(run.scalars.get("iteration", ()), dtype=np.int64)
    bad = _bad_rows(run, len(iterations))
    samples = sorted(run.broken)
    if bad is None and not run.steps and not samples:
        yield Skipped(because="neither losses nor gradients nor samples were recorded")
        return
    bad = np.zeros(0, dtype=bool) if bad is None else bad
    if not bad.any() and not samples:
        return
    left_out = _left_out(run, len(bad))
    start = last_streak(bad)
    dead = False
    if start is not None:
        dead = len(bad) - start >= (DEAD_SKIPPING if left_out[start:].all() else min(DEAD, len(bad)))
    broken = len(samples) > 0 and samples[-1] >= max(run.steps, default=0)
    rows = iterations[bad] if len(bad) else iterations[:0]
    if dead and start is not None:
        first_step = int(iterations[start])
    else:
        first_step = min([int(row) for row in rows[:1]] + samples[:1])
    share = float(bad.mean()) if len(bad) else 0.0
    harmful = float((bad & ~left_out).mean()) if len(bad) else 0.0
    if dead:
        message = f"Losses or gradients are not finite from iteration {first_step:,} to the end: the training is dead."
    elif broken:
        message = f"The generator makes samples with NaN or infinity ({run.broken[samples[-1]]:.0%} of the last ones)."
    else:
        message = f"{len(rows):,} iterations ({share:.1%}) held NaN or infinity; the training recovered each time."
    often = harmful > OFTEN or (len(samples) > 0 and not broken)
    yield Finding(
        severity="critical" if dead or broken else "warning" if often else "info",
        confidence="high",
        first_step=first_step,
        last_step=max([int(row) for row in rows[-1:]] + samples[-1:]),
        message=message,
        evidence={
            "iterations_not_finite": len(rows),
            "share": share,
            "iterations_skipped": int((bad & left_out).sum()),
            "snapshots_not_finite": samples,
            "last_healthy_snapshot": run.last_healthy(first_step),
        },
    )


def _left_out(run: Evidence, count: int) -> NDArray[np.bool_]:
    """[N] in which iterations a GradScaler left a step out, and the losses were finite: no weight has seen a NaN."""
    skipped, finite = np.zeros(count, dtype=bool), np.ones(count, dtype=bool)
    for net in ("d", "g"):
        steps = np.asarray(run.scalars.get(f"skipped/{net}", ()), dtype=np.float64)
        losses = np.asarray(run.scalars.get(f"loss/{net}", ()), dtype=np.float64)
        if len(steps) == count:
            skipped |= steps > 0
        if len(losses) == count:
            finite &= np.isfinite(losses)
    return skipped & finite


def _bad_rows(run: Evidence, count: int) -> NDArray[np.bool_] | None:
    """[N] which iterations held something non-finite; None where nothing was recorded that could tell."""
    bad, known = np.zeros(count, dtype=bool), False
    flagged = np.asarray(run.scalars.get("numerics/nonfinite", ()), dtype=np.float64)
    if len(flagged) == count and np.isfinite(flagged).any():
        bad |= np.nan_to_num(flagged, nan=0.0, posinf=1.0) > 0
        known = True
    for name in ("loss/d", "loss/g"):
        losses = np.asarray(run.scalars.get(name, ()), dtype=np.float64)
        if len(losses) != count or not np.isfinite(losses).any():
            continue
        known = True
        bad |= np.isinf(losses)
        # NaN also stands for "not measured". A loss that was there at every iteration and then never again is NaN.
        finite = np.isfinite(losses)
        end = int(np.flatnonzero(finite)[-1]) + 1
        if count - end >= DEAD and finite[:end].mean() > 0.9:
            bad[end:] = True
    return bad if known and count else None
