"""GD301: gradient norms leave their own past by orders of magnitude, and stay there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gandiag.analyzers._series import bin_medians, last_streak, robust_z
from gandiag.analyzers.base import Array, Evidence, Finding, Skipped, analyzer

SHORTEST = 200
"""Fewer iterations hold no history to compare with."""
BINS = 100
"""A hundredth of the run is the shortest time that is looked at: one bad batch is not an explosion."""
SUSTAINED = 3
"""Bins in a row."""
FACTOR = 100.0
"""Times the median of the history."""
BEYOND = 3.0
"""...and times its maximum: D's gradients coming back from near zero are no explosion."""
CREEP = 1000.0
"""Times the early level at the end, for a growth so even that no moment stands out."""
SIGMA = 6.0
"""Robust standard deviations above the history, on the logarithm (as OLMo skips steps at 6 sigma)."""
HISTORY = 10
"""Bins of history before anything can stand out from it."""
LAG = 6
"""Bins between the history and what is compared with it: a growth by a factor of two a bin would else hide in it."""
RISING = 10.0
"""Times the usual norm where the growth is said to begin."""


@analyzer("GD301", name="gradients-explode")
def gradients_explode(run: Evidence) -> Iterator[Finding | Skipped]:
    """The gradient norm of G or D grew far beyond its own history, for longer than a spike."""
    judged = False
    for net, label in (("d", "D"), ("g", "G")):
        steps, norms = run.column(f"grad/{net}/total")
        if run.iterations < SHORTEST or len(norms) < SHORTEST:
            continue
        judged = True
        starts, level = bin_medians(steps, norms, bins=BINS)
        log = np.log(np.maximum(level, 1e-30))
        onset = explosion(log)
        if onset is None:
            continue
        usual = float(np.exp(np.median(log[:onset])))
        factor = float(np.exp(log[onset:].max())) / usual
        times = f"{factor:,.0f}" if factor < 1e6 else f"{factor:.0e}"
        lasts = bool((log[-SUSTAINED:] > np.log(usual * FACTOR / 10)).all())
        first_step = int(starts[onset])
        yield Finding(
            severity="critical" if lasts and _harmful(run, first_step, factor) else "warning",
            confidence="high" if lasts and factor > CREEP else "medium",
            first_step=first_step,
            last_step=run.iterations if lasts else int(starts[np.flatnonzero(log > np.log(usual * FACTOR))[-1]]),
            message=f"{label}'s gradients explode from iteration {first_step:,}: up to {times} times their usual "
            f"norm{', to the end' if lasts else ', then they come down again'}.",
            evidence={
                "network": label,
                "usual_norm": usual,
                "highest_norm": factor * usual,
                "factor": factor,
                "to_the_end": lasts,
                "last_healthy_snapshot": run.last_healthy(first_step),
            },
        )
    if not judged:
        yield Skipped(because=f"{run.iterations} iterations are too few to know what gradients are usual here")


def explosion(log: Array) -> int | None:
    """Index of the first bin of log norms that stands out for good from the bins before it, or None."""
    for index in range(HISTORY + LAG, len(log) - SUSTAINED + 1):
        history, ahead = log[: index - LAG], log[index : index + SUSTAINED]
        usual = float(np.median(history))
        beyond = max(usual + np.log(FACTOR), float(history.max()) + np.log(BEYOND))
        if (ahead > beyond).all() and (robust_z(ahead, history=history) > SIGMA).all():
            rising = last_streak(log[: index + 1] > usual + np.log(RISING))
            return index if rising is None else max(rising, index - LAG)
    early = log[: len(log) * 3 // 10]
    if len(early) < HISTORY:
        return None
    creep = max(float(np.median(early)) + np.log(CREEP), float(early.max()) + np.log(BEYOND))
    if (log[-SUSTAINED:] > creep).all():
        return int(np.argmax(log > np.median(early) + np.log(FACTOR)))
    return None


def _harmful(run: Evidence, first_step: int, factor: float) -> bool:
    """Did anything else break: numbers that are not finite, or samples that got worse; or is the growth absurd?"""
    iterations, bad = run.column("numerics/nonfinite")
    if (bad[iterations >= first_step] > 0).any() or factor > 1e6:
        return True
    coverage = run.over_null("coverage")
    after = np.asarray(run.steps) >= first_step
    if len(coverage) != len(run.steps) or not after.any():
        return factor > CREEP
    before = coverage[~after]
    best = float(np.nanmax(before)) if np.isfinite(before).any() else 1.0
    return not coverage[-1] > 0.7 * best
