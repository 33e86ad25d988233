"""Evidence built by hand: a rule's test says what the rule sees, and nothing has to be measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from helpers.mixtures import curves

from gandiag.analyzers import Evidence, Finding, Skipped
from gandiag.metrics import Measure
from gandiag.rundir import RunInfo

STEPS = (50, 100, 200, 400, 600, 800, 1000)


def measures(values: Sequence[float], *, null: float = 1.0, n: int = 1000) -> tuple[Measure, ...]:
    """A series with a tight interval round each value."""
    nulls = {"null": null, "null_low": null - 0.01, "null_high": null + 0.01}
    values = [float(value) for value in values]
    return tuple(Measure(value=v, low=v - 0.01, high=v + 0.01, **nulls, n_real=n, n_fake=n) for v in values)


def evidence(
    *,
    steps: Sequence[int] = STEPS,
    shares: Any = None,
    series: dict[str, Sequence[float]] | None = None,
    scalars: dict[str, Any] | None = None,
    modes: int = 8,
    repeats: Sequence[float] = (),
    repeats_null: float = 0.0,
    **fields: Any,
) -> Evidence:
    """A healthy run of 1,000 iterations with 8 modes, but for what is given."""
    count = len(steps)
    shares = np.full((count, modes), 0.95 / modes) if shares is None else np.asarray(shares, dtype=float)
    given = {"coverage": [0.9] * count, "precision": [0.9] * count, "density": [1.0] * count, **(series or {})}
    columns = curves() if scalars is None else dict(scalars)
    if columns:
        columns.setdefault("iteration", np.arange(1, len(next(iter(columns.values()))) + 1))
    made: dict[str, Any] = {
        "info": RunInfo(id="test"),
        "iterations": max([*steps, *columns.get("iteration", [])[-1:]], default=0),
        "scalars": columns,
        "steps": tuple(steps),
        "series": {name: measures(values) for name, values in given.items()} if count else {},
        "shares": shares,
        "real_shares": np.full(shares.shape[1], 1 / shares.shape[1]) if shares.shape[1] else np.zeros(0),
        "spread": np.ones(shares.shape),
        "captured": tuple(int(n) for n in (shares > 0.0125).sum(axis=1)),
        "closeness": np.ones(count),
        "mode_closeness": 0.1,
        "loss_family": "bce",
        "n_fake": 1000,
    }
    if repeats:
        made["series"]["duplicates"] = measures(repeats, null=repeats_null)
    return Evidence(**{**made, **fields})


def only(answers: Sequence[Finding | Skipped]) -> Finding:
    """The one finding among the answers."""
    found = [answer for answer in answers if isinstance(answer, Finding)]
    assert len(found) == 1, answers
    return found[0]
