"""GD201: the discriminator has won, and the generator gets no gradient to learn from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gandiag.analyzers._series import bin_medians, change_point, last_streak
from gandiag.analyzers.base import Array, Evidence, Finding, Skipped, analyzer

SHORTEST = 200
"""Fewer iterations than this are all warm-up."""
VANISHED = 0.05
"""G's gradient norm in the last quarter over its own early peak. No absolute norm carries over between losses."""
SATURATED = 0.99
"""D judges at least this share of its batches rightly."""
WIDE = 6.0
"""For relativistic losses, whose logits have no zero: a gap between real and fake where sigmoid reads 0.998."""
BAD = 0.5
"""Samples are bad below this share of the coverage that real data reach."""


@analyzer("GD201", name="d-too-strong")
def d_too_strong(run: Evidence) -> Iterator[Finding | Skipped]:
    """D separates real from fake perfectly, G's gradient has vanished, and the samples stay bad.

    All three are asked for: a D that wins against a generator that still improves is doing its work, and losses
    alone decide nothing.
    """
    steps, gradient = run.column("grad/g/total")
    if run.iterations < SHORTEST or len(gradient) < 50:
        yield Skipped(because=f"{run.iterations} iterations with {len(gradient)} gradient norms of G are too few")
        return
    won = _saturation(run)
    if won is None:
        yield Skipped(
            because="a Wasserstein critic's outputs have no zero and no ceiling: it cannot be called saturated"
            if run.loss_family == "wasserstein"
            else "D's outputs on real and fake were not both recorded"
        )
        return
    starts, level = bin_medians(steps, gradient, bins=min(100, len(gradient)))
    early = float(level[: max(len(level) // 4, 1)].max())
    now = float(np.median(level[-max(len(level) // 4, 1) :]))
    if now > VANISHED * early or not won[1]:
        return
    coverage = run.over_null("coverage")[run.since_warm_up()] if "coverage" in run.series else np.zeros(0)
    coverage = coverage[np.isfinite(coverage)]
    if len(coverage) and (coverage[-1] >= BAD or _improves(coverage)):
        return
    low = last_streak(level <= VANISHED * early)
    onset = int(starts[change_point(level)[0] if low is None else low])
    bad = f" and the samples stay bad (coverage {coverage[-1]:.0%} of its null)" if len(coverage) else ""
    yield Finding(
        severity="critical" if len(coverage) else "warning",
        confidence="low" if not len(coverage) else "high" if len(coverage) >= 3 else "medium",
        first_step=onset,
        last_step=run.iterations,
        message=f"D has won: {won[0]}, G's gradient fell to {now / max(early, 1e-30):.1%} of its early peak{bad}.",
        evidence={
            "gradient_now": now,
            "gradient_early_peak": early,
            "saturation": won[0],
            "coverage_over_null": float(coverage[-1]) if len(coverage) else None,
            "last_healthy_snapshot": run.last_healthy(onset),
        },
    )


def _saturation(run: Evidence) -> tuple[str, bool] | None:
    """How sure D is in the last quarter, in words, and whether that is saturated; None where it cannot be said."""
    if run.loss_family == "wasserstein":
        return None
    if run.loss_family == "relativistic":
        steps, real = run.column("d/logits/real/mean")
        _, fake = run.column("d/logits/fake/mean")
        if not len(real) or len(real) != len(fake):
            return None
        gap = float(np.median(_last_quarter(steps, real - fake)))
        return f"its outputs on real and fake lie {gap:.1f} apart", gap > WIDE
    steps, accuracy = _accuracy(run)
    if not len(accuracy):
        return None
    rate = float(np.median(_last_quarter(steps, accuracy)))
    return f"it judges {rate:.1%} of its batches rightly", rate >= SATURATED


def _accuracy(run: Evidence) -> tuple[NDArray[np.int64], Array]:
    """The share of a batch that D judges rightly, real and fake weighted alike; empty where it is not known."""
    steps, accuracy = run.column("d/accuracy")
    if len(accuracy):
        return steps, accuracy
    steps, real = run.column("d/logits/real/positive")
    _, fake = run.column("d/logits/fake/positive")
    return steps, (real + 1 - fake) / 2 if len(real) == len(fake) else np.zeros(0)


def _improves(coverage: Array) -> bool:
    """Is the last snapshot better than every one before it, by more than noise?"""
    return len(coverage) >= 2 and bool(coverage[-1] > coverage[:-1].max() + 0.05)


def _last_quarter(steps: NDArray[np.int64], values: Array) -> Array:
    """The values of the last quarter of the iterations, the last value at least."""
    first = steps[-1] - (steps[-1] - steps[0]) // 4 if len(steps) else 0
    return values[steps >= first]
