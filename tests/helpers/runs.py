"""Run directories with known content, for tests of what comes after recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gandiag.rundir import RunWriter

#: What a recording usually knows; `write_run(info=...)` replaces single fields.
INFO = {
    "command": ["python", "train.py"],
    "cwd": "/somewhere",
    "versions": {"python": "3.11", "torch": "2.13"},
    "device": "cpu",
    "roles": {
        "generator": {"classes": ["Generator"], "parameters": 1000, "confidence": 1.0},
        "discriminator": {"classes": ["Discriminator"], "parameters": 2000, "confidence": 1.0},
    },
    "d_calls": {"real": {"d": 10}, "fake": {"d": 10, "g": 10}},
    "loss_family": "bce",
}


def write_run(
    path: str | Path,
    *,
    scalars: Mapping[str, Any],
    snapshots: Sequence[Mapping[str, Any]] = (),
    events: Sequence[Mapping[str, Any]] = (),
    info: Mapping[str, Any] | None = None,
    status: str = "finished",
) -> Path:
    """Record a whole run at once; called again with the same path it records the next attempt.

    Args:
        path: the run directory to make.
        scalars: columns of equal length; "iteration" counts from 1 if it is not given. {} for no rows.
        snapshots: each {"step": int, "real": [n, d], "fake": [m, d], ... other fields of `Snapshot`, "meta": {...}}.
        events: each {"kind": str, "step": int, ...}.
        info: fields of `RunInfo` that differ from `INFO`.
        status: what the run ends with; "running" leaves it open, as a kill does.

    Returns:
        `path`.
    """
    writer = RunWriter(path, info={**INFO, **(info or {})})
    columns = {name: np.asarray(values) for name, values in scalars.items()}
    if columns:
        rows = len(next(iter(columns.values())))
        columns.setdefault("iteration", np.arange(1, rows + 1))
        writer.append(columns)
    for snapshot in snapshots:
        tensors = {name: np.asarray(value) for name, value in snapshot.items() if name not in ("step", "meta")}
        writer.snapshot(snapshot["step"], tensors, snapshot.get("meta", {}))
    for event in events:
        writer.event(**event)
    if status != "running":
        writer.close(status)
    return Path(path)
