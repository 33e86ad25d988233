"""GD203: the two players chase each other in circles and the samples swing with them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gandiag.analyzers._series import bin_medians, turning_points
from gandiag.analyzers.base import Array, Evidence, Finding, Skipped, analyzer

ENOUGH = 6
"""Three turns need at least this many snapshots."""
TURNS = 3
"""One rise and fall is an event; three turns are a pattern."""
SWING = 0.3
"""A swing of coverage, in parts of what real data reach; late in healthy runs it moves by up to 0.1."""
WILD = 0.5
"""A swing that takes away half of the data's coverage and gives it back."""


@analyzer("GD203", name="oscillation")
def oscillation(run: Evidence) -> Iterator[Finding | Skipped]:
    """The quality of the samples goes up and down again and again, instead of settling.

    Losses and logits of a healthy GAN are noisy and may circle without harm; so they alone are worth an `info`.
    """
    late = run.since_warm_up()
    coverage = run.over_null("coverage")
    known = late[np.isfinite(coverage[late])] if len(coverage) == len(run.steps) else late[:0]
    if len(known) < ENOUGH:
        yield Skipped(because=f"{len(known)} snapshots after the warm-up; it takes {ENOUGH} to see a pattern in time")
    else:
        series = coverage[known]
        turns = turning_points(series, swing=SWING)
        if len(turns) >= TURNS:
            steps = [run.steps[known[turn]] for turn in turns]
            wild = len(turning_points(series, swing=WILD)) >= TURNS
            yield Finding(
                severity="critical" if wild else "warning",
                confidence="high" if len(turns) >= 5 else "medium",
                first_step=steps[0],
                last_step=steps[-1],
                message=f"The samples swing instead of settling: coverage turned {len(turns)} times between "
                f"{series.min():.0%} and {series.max():.0%} of its null.",
                evidence={
                    "turning_steps": steps,
                    "coverage_over_null_low": float(series.min()),
                    "coverage_over_null_high": float(series.max()),
                    "last_healthy_snapshot": run.last_healthy(run.iterations + 1),
                },
            )
            return
    yield from _from_logits(run)


def _from_logits(run: Evidence) -> Iterator[Finding]:
    """An `info` where D changes its mind about real and fake over and over."""
    steps, real = run.column("d/logits/real/mean")
    fake_steps, fake = run.column("d/logits/fake/mean")
    if len(real) < 300 or not np.array_equal(steps, fake_steps):
        return
    warm = steps[0] + (steps[-1] - steps[0]) // 10
    starts, gap = bin_medians(steps[steps >= warm], (real - fake)[steps >= warm], bins=100)
    size = float(np.median(np.abs(gap)))
    turns = turning_points(gap, swing=_swing(gap, size))
    flips = int((np.diff(np.sign(gap)) != 0).sum())
    if len(turns) < 2 * TURNS or flips < 2 * TURNS:
        return
    yield Finding(
        severity="info",
        confidence="low",
        first_step=int(starts[turns[0]]),
        last_step=int(starts[turns[-1]]),
        message=f"D's outputs circle: the gap between real and fake changed its sign {flips} times. "
        f"Harmless while the samples do not swing along.",
        evidence={"turns": len(turns), "sign_changes": flips, "typical_gap": size},
    )


def _swing(gap: Array, size: float) -> float:
    """What counts as a swing of the gap: more than the gap itself, and well above the ripple from bin to bin."""
    ripple = 1.4826 * float(np.median(np.abs(np.diff(gap))))
    return max(2 * size, 4 * ripple, 1e-6)
