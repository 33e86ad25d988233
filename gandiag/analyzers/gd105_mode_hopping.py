"""GD105: the generator runs from mode to mode; at any one time it knows only a few."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gandiag.analyzers._modes import missing_modes, total_variation
from gandiag.analyzers.base import Evidence, Finding, Skipped, analyzer

ENOUGH = 5
"""Fewer snapshots after the warm-up cannot show a pattern in time."""
HELD = 0.5
"""A mode counts as held at this part of its fair share; falling from held to missing at the next look is a loss."""
JUMP = 0.35
"""Total variation between the shares of two snapshots that counts as a jump. Two samples of 1,000 from one
generator with 10 modes differ by about 0.04; a mode of ten that vanishes moves it by 0.1."""


@analyzer("GD105", name="mode-hopping")
def mode_hopping(run: Evidence) -> Iterator[Finding | Skipped]:
    """Modes that are captured at one time and gone the next, over and over."""
    late = run.since_warm_up()
    if len(run.real_shares) < 2:
        yield Skipped(because="no modes are known, so none can be followed through time")
        return
    if len(late) < ENOUGH:
        yield Skipped(because=f"{len(late)} snapshots after the warm-up; it takes {ENOUGH} to see hopping")
        return
    shares, missing = run.shares[late], missing_modes(run)[late]
    steps = [run.steps[index] for index in late]
    distance = total_variation(shares)
    lost = (shares[:-1] >= HELD * run.real_shares) & missing[1:]
    won = missing[:-1] & (shares[1:] >= HELD * run.real_shares)
    hops = (distance > JUMP) & lost.any(axis=1) & won.any(axis=1)
    if hops.sum() < max(2, 0.25 * len(hops)):
        return
    first = int(np.argmax(hops))
    held = int(np.median((~missing).sum(axis=1)))
    visited = int((~missing).any(axis=0).sum())
    count = len(run.real_shares)
    severe = hops.mean() >= 0.4 and held <= 0.8 * count
    healthy = run.last_healthy(steps[first + 1])
    yield Finding(
        severity="critical" if severe else "warning",
        confidence="high" if severe and hops.sum() >= 4 else "medium",
        first_step=steps[first + 1],
        last_step=steps[int(np.flatnonzero(hops)[-1]) + 1],
        message=f"The generator hops: {visited} of {count} modes are visited but typically {held} are held at a time; "
        f"in {int(hops.sum())} of {len(hops)} steps from snapshot to snapshot modes vanish and others appear.",
        evidence={
            "hops": int(hops.sum()),
            "looks": len(hops),
            "median_total_variation": float(np.median(distance)),
            "held_at_a_time": held,
            "visited": visited,
            "hop_steps": [steps[index + 1] for index in np.flatnonzero(hops)],
            "last_healthy_snapshot": healthy,
        },
    )
