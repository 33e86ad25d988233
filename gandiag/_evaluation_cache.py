"""Keeps an evaluation in `derived/evaluation.json`, as long as the snapshots it was made from are the same.

What is read back is trusted no more than anything else in a run directory: whatever does not fit is made anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from gandiag.errors import RunDirError
from gandiag.metrics import Measure, Mode, ModeTable
from gandiag.rundir import RunReader

NAME = "evaluation.json"
VERSION = 2
"""To be raised whenever the same snapshots would give other numbers."""
LARGEST = 64 << 20
"""Bytes that are read at most."""


def fingerprint(run: RunReader) -> str:
    """Changes when a snapshot is added, removed or rewritten."""
    digest = hashlib.sha256(f"{VERSION}".encode())
    for path in sorted(run.path.glob("rank*/snapshots/*.safetensors")):
        with contextlib.suppress(FileNotFoundError):  # thinned by the run while we look
            stat = path.stat()
            digest.update(f"{path.relative_to(run.path)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def store(run: RunReader, key: str, fields: dict[str, Any]) -> None:
    """Write the fields of an evaluation; where the directory does not take it, it is made anew next time.

    That it could not be written is said once, by `analyze`, which writes the diagnosis to the same place.
    """
    with contextlib.suppress(RunDirError):
        run.write_derived(NAME, json.dumps({"key": key, "evaluation": plain(fields)}, allow_nan=False))


def load(run: RunReader, key: str) -> dict[str, Any] | None:
    """The fields that were stored under this key, or None."""
    path = run.derived / NAME
    try:
        if path.stat().st_size > LARGEST:
            return None
        stored = json.loads(path.read_bytes())
        if stored["key"] != key:
            return None
        return _restore(stored["evaluation"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # absent, torn or foreign: nothing is lost but the time to measure again


def plain(value: Any) -> Any:
    """Only what strict JSON knows: no NaN or infinity (null instead), no NumPy, no tuples, text keys."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _restore(fields: dict[str, Any]) -> dict[str, Any]:
    size = (len(fields["steps"]), len(fields["real_shares"]))
    modes = fields["modes"]
    return {
        "steps": tuple(int(step) for step in fields["steps"]),
        "series": {
            str(name): tuple(_measure(measure) for measure in measures) for name, measures in fields["series"].items()
        },
        "shares": _array(fields["shares"]).reshape(size),
        "real_shares": _array(fields["real_shares"]),
        "spread": _array(fields["spread"]).reshape(size),
        "captured": tuple(int(number) for number in fields["captured"]),
        "modes": None if modes is None else _modes(modes),
        "closeness": _array(fields["closeness"]),
        "mode_closeness": _number(fields["mode_closeness"]),
        "exemplars": tuple(tuple((int(step), int(row)) for step, row in mode) for mode in fields["exemplars"]),
        "broken": {int(step): float(share) for step, share in fields["broken"].items()},
        "n_real": int(fields["n_real"]),
        "n_fake": int(fields["n_fake"]),
        "loss_family": str(fields["loss_family"]),
        "notes": tuple(str(note) for note in fields["notes"]),
    }


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _array(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(values, dtype=np.float64)  # None becomes NaN


def _measure(fields: dict[str, Any]) -> Measure:
    names = ("value", "low", "high", "null", "null_low", "null_high", "p_value")
    floats = {name: _number(fields[name]) for name in names}
    return Measure(**floats, n_real=int(fields["n_real"]), n_fake=int(fields["n_fake"]))


def _modes(fields: dict[str, Any]) -> ModeTable:
    """Each field by its type: a number, a whole number, a tuple of indices, or one of a few words."""
    modes = tuple(_record(Mode, mode, state=str(mode["state"])) for mode in fields["modes"])
    return _record(ModeTable, fields, source=str(fields["source"]), modes=modes)


Record = TypeVar("Record", Mode, ModeTable)


def _record(kind: type[Record], stored: dict[str, Any], **known: Any) -> Record:
    read: dict[str, Callable[[Any], Any]] = {
        "int": int,
        "float": _number,
        "tuple[int, ...]": lambda values: tuple(int(value) for value in values),
    }
    # Annotations are text, as every module postpones them.
    rest = [field for field in dataclasses.fields(kind) if field.name not in known]
    return kind(**known, **{field.name: read[str(field.type)](stored[field.name]) for field in rest})
