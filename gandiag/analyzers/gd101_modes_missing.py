"""GD101: parts of the data that the generator never makes, or no longer makes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from gandiag.analyzers._modes import GONE, LEARNT, missing_modes
from gandiag.analyzers._series import last_streak
from gandiag.analyzers.base import Array, Evidence, Finding, Skipped, analyzer

CRITICAL_MASS = 0.05
"""Missing modes that hold this share of the data make a run collapsed; less is a warning."""

WARNING_MASS = 0.02
"""A found cluster with less than this may be no mode at all, so that its loss is only worth an info (a label is a mode
at any size); and so is a small mode that is absent from the last snapshot alone."""
LEFT = 0.05
"""Below this share of fakes near any mode, where it was higher before, the generator has left the data as a whole."""
COVERED = 0.2
"""Coverage over its null below which all modes being hit proves nothing: a shapeless cloud hits them all."""


@analyzer("GD101", name="modes-missing")
def modes_missing(run: Evidence) -> Iterator[Finding | Skipped]:
    """Real modes that get (almost) none of the generated samples, at the end of the recording."""
    if not run.steps:
        yield Skipped(because="no snapshot of samples was recorded, so nothing is known about diversity")
    elif len(run.real_shares) < 2:
        yield from _from_coverage(run)
    else:
        near = run.shares.sum(axis=1)
        if near.max() < LEARNT:
            yield Skipped(
                because=f"only {near[-1]:.0%} of the samples lie near any real mode, and never more than "
                f"{near.max():.0%}: the generator has not learnt the data, so modes cannot be counted"
            )
            return
        missing = missing_modes(run)
        if near[-1] < LEFT:
            yield _left_the_data(run, near)
        elif missing[-1].any():
            yield _of_modes(run, missing)
        else:
            answers: list[Finding | Skipped] = list(_of_many_small_modes(run))
            coverage = run.over_null("coverage")
            if not answers and len(coverage) and coverage[-1] < COVERED:
                answers = [
                    Skipped(
                        because=f"every mode gets its samples, but they cover only {coverage[-1]:.0%} of what held-out "
                        f"data cover: too unlike the data to say that nothing is missing"
                    )
                ]
            yield from answers


def _of_modes(run: Evidence, missing: NDArray[np.bool_]) -> Finding:
    gone = np.flatnonzero(missing[-1])
    mass = float(run.real_shares[gone].sum())
    streaks = [last_streak(missing[:, mode]) or 0 for mode in gone]
    since = min(streaks)
    lasting = len(run.steps) - max(streaks) >= 2
    never = [int(mode) for mode in gone if missing[:, mode].all()]
    first_step = run.steps[since]
    healthy = run.last_healthy(first_step)
    critical = mass >= CRITICAL_MASS
    labelled = run.modes is not None and run.modes.source == "labels"
    worth_a_warning = (lasting or len(run.steps) == 1) and (mass >= WARNING_MASS or labelled)
    count = len(run.real_shares)
    when = (
        "in every snapshot"
        if len(never) == len(gone)
        else f"since iteration {first_step:,}" + ("" if healthy is None else f" (complete at {healthy:,})")
    )
    return Finding(
        severity="critical" if critical else "warning" if worth_a_warning else "info",
        confidence="high" if lasting and mass >= 2 * CRITICAL_MASS else "medium" if lasting or critical else "low",
        first_step=first_step,
        last_step=run.steps[-1],
        message=f"{len(gone)} of {count} modes {'is' if len(gone) == 1 else 'are'} missing {when}: "
        f"{mass:.0%} of the data are never generated.",
        evidence={
            "missing_modes": gone.tolist(),
            "never_captured": never,
            "missing_real_share": mass,
            "count_real": count,
            "count_present": count - len(gone),
            "missing_since": {int(mode): run.steps[start] for mode, start in zip(gone, streaks, strict=True)},
            "fake_shares": {int(mode): float(run.shares[-1, mode]) for mode in gone},
            "coverage_over_null": _last(run.over_null("coverage")),
            "last_healthy_snapshot": healthy,
        },
    )


def _left_the_data(run: Evidence, near: Array) -> Finding:
    # Not a collapse between modes: something threw the generator off altogether. Other rules say what, if they can.
    start = last_streak(near < LEFT) or 0
    first_step = run.steps[start]
    return Finding(
        severity="warning",
        confidence="low",
        first_step=first_step,
        last_step=run.steps[-1],
        message=f"Since iteration {first_step:,} the samples lie nowhere near the data ({near[-1]:.0%} are near a real "
        f"mode, {near.max():.0%} were): no mode is generated any more.",
        evidence={
            "share_near_a_mode": float(near[-1]),
            "highest_share_near_a_mode": float(near.max()),
            "last_healthy_snapshot": run.last_healthy(first_step),
        },
    )


def _of_many_small_modes(run: Evidence) -> Iterator[Finding]:
    # With hundreds of modes no single one can be proved missing: a perfect sampler misses many. Their count can.
    least = np.ceil(GONE * run.n_fake * run.real_shares)
    hit = 1 - binom.cdf(np.maximum(least, 1) - 1, run.n_fake, run.real_shares)
    expected, sd = float(hit.sum()), float(np.sqrt((hit * (1 - hit)).sum()))
    counts = np.rint(run.shares * run.n_fake)
    seen = (counts >= np.maximum(least, 1)).sum(axis=1)
    low = (expected - seen > 5 * sd) & (seen < 0.9 * expected)
    start = last_streak(low)
    if start is None:
        return
    yield Finding(
        severity="critical" if seen[-1] < 0.8 * expected else "warning",
        confidence="high" if len(seen) - start >= 2 else "medium",
        first_step=run.steps[start],
        last_step=run.steps[-1],
        message=f"{seen[-1]} of {len(run.real_shares)} modes are captured where a perfect generator would show "
        f"{expected:.0f} at this sample size.",
        evidence={
            "count_present": int(seen[-1]),
            "expected_of_a_perfect_generator": expected,
            "count_real": len(run.real_shares),
            "last_healthy_snapshot": run.last_healthy(run.steps[start]),
        },
    )


def _from_coverage(run: Evidence) -> Iterator[Finding | Skipped]:
    # Without modes only coverage is left, and blurred samples lower it as missing modes do: so it speaks only
    # where the samples are as good as the data.
    coverage, precision = run.over_null("coverage"), run.over_null("precision")
    if len(coverage) == 0 or not np.isfinite(coverage[-1]):
        yield Skipped(because="no modes were found in the real data and coverage could not be computed")
        return
    low = (coverage < 0.5) & (precision > 0.8)
    start = last_streak(low)
    if start is None:
        if coverage[-1] < 0.5:
            yield Skipped(
                because=f"no modes were found in the real data, and coverage ({coverage[-1]:.0%} of its null) cannot "
                f"tell missing modes from bad samples (precision is {precision[-1]:.0%} of its null)"
            )
        return
    yield Finding(
        severity="critical" if coverage[-1] < 0.25 else "warning",
        confidence="medium" if len(low) - start >= 2 else "low",
        first_step=run.steps[start],
        last_step=run.steps[-1],
        message=f"The samples look real but cover only {coverage[-1]:.0%} of what held-out data cover.",
        evidence={
            "coverage_over_null": float(coverage[-1]),
            "precision_over_null": float(precision[-1]),
            "last_healthy_snapshot": run.last_healthy(run.steps[start]),
        },
    )


def _last(values: NDArray[np.float64]) -> float | None:
    return float(values[-1]) if len(values) else None
