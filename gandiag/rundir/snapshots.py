"""Snapshots: embeddings of real and fake samples at one step, in one safetensors file each."""

from __future__ import annotations

import json
import math
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gandiag.errors import RunDirError, ShapeError
from gandiag.rundir._files import numbered, read_file
from gandiag.rundir._text import clean

SNAPSHOT_FILE = re.compile(r"step-(\d{9,19})\.safetensors", re.ASCII)
MAX_STEP = 2**62
MAX_SNAPSHOT = 1 << 30
MAX_HEADER = 1 << 20
_CHECKSUM = "crc32"

#: Up to this many dimensions embeddings stay float32: half precision's step of 2**-11 is 10 % of the standard
#: deviation of a mode of the usual 2-D ring, and two dimensions cost next to nothing.
EXACT_UP_TO = 64


@dataclass(frozen=True, slots=True)
class _Field:
    dims: int
    dtype: type[np.generic]  # in memory
    on_disk: tuple[str, ...]  # what the file may hold, in safetensors' names


_FIELDS = {
    "real": _Field(2, np.float32, ("F16", "F32")),
    "fake": _Field(2, np.float32, ("F16", "F32")),
    "labels_real": _Field(1, np.int64, ("I64",)),
    "labels_fake": _Field(1, np.int64, ("I64",)),
    "thumbs_real": _Field(4, np.uint8, ("U8",)),
    "thumbs_fake": _Field(4, np.uint8, ("U8",)),
    "logits_real": _Field(1, np.float32, ("F32",)),
    "logits_fake": _Field(1, np.float32, ("F32",)),
    "cotangents_real": _Field(1, np.float32, ("F32",)),
    "cotangents_fake": _Field(1, np.float32, ("F32",)),
}


@dataclass(frozen=True)
class Snapshot:
    """What D and the embedder saw at one step.

    Attributes:
        step: the iteration.
        real: embeddings of real samples, [n, d] float32. May hold NaN where training has diverged, as `fake` may.
        fake: embeddings of generated samples, [m, d] float32.
        labels_real: classes of the real samples, [n] int64, where the script has labels.
        labels_fake: classes that the fakes were asked to be, [m] int64.
        thumbs_real: small pictures of some real samples, [k, h, w, c] uint8, c = 1 or 3.
        thumbs_fake: the same of fakes.
        logits_real: D's logits on the real samples, [n] float32.
        logits_fake: D's logits on the fakes, [m] float32.
        cotangents_real: d loss_D / d output of D at the real samples of D's step, float32, one
            number for each row of that step's batch (the samples above may come from several batches).
        cotangents_fake: the same at the fakes, float32.
        meta: words about it: the embedder, whether D puts out a "probability" or a "logit", and so on.
    """

    step: int
    real: np.ndarray
    fake: np.ndarray
    labels_real: np.ndarray | None = None
    labels_fake: np.ndarray | None = None
    thumbs_real: np.ndarray | None = None
    thumbs_fake: np.ndarray | None = None
    logits_real: np.ndarray | None = None
    logits_fake: np.ndarray | None = None
    cotangents_real: np.ndarray | None = None
    cotangents_fake: np.ndarray | None = None
    meta: dict[str, str] = field(default_factory=dict)


def snapshot_name(step: int) -> str:
    """The file name of the snapshot at `step`."""
    return f"step-{step:09d}.safetensors"


def snapshot_files(folder: Path) -> dict[int, Path]:
    """The snapshots of an attempt's folder by step, ascending."""
    return {step: path for step, path in numbered(folder / "snapshots", SNAPSHOT_FILE).items() if step < MAX_STEP}


def pack(tensors: Mapping[str, np.ndarray], meta: Mapping[str, str]) -> bytes:
    """The bytes of a snapshot file.

    Raises:
        ShapeError: if a tensor is unknown, missing, or does not fit the others; see `Snapshot` for the shapes.
    """
    from safetensors.numpy import save

    stored = {name: _storable(name, np.asarray(array)) for name, array in tensors.items() if array is not None}
    problem = _misfit({name: array.shape for name, array in stored.items()})
    if problem:
        raise ShapeError(f"cannot record this snapshot: {problem}")
    words = {clean(str(key)): clean(str(value)) for key, value in meta.items()}
    data: bytes = save(stored, metadata={**words, _CHECKSUM: str(_checksum(stored))})
    if struct.unpack("<Q", data[:8])[0] > MAX_HEADER or len(data) > MAX_SNAPSHOT:
        raise ShapeError(f"cannot record a snapshot of {len(data)} bytes: give fewer rows or shorter meta words")
    return data


def load(path: Path, step: int) -> Snapshot:
    """Read one snapshot file.

    Raises:
        FileNotFoundError: if it is gone; snapshots are thinned while a run goes on.
        RunDirError: if it is damaged in any way.
    """
    import safetensors

    try:
        data = read_file(path, MAX_SNAPSHOT)
        meta = _check_header(data)
        # `deserialize` and not `safe_open`: that one maps the file, and a mapped file that shrinks kills the process.
        stored = {name: _to_array(name, entry) for name, entry in _entries(data) if name in _FIELDS}
        problem = _misfit({name: array.shape for name, array in stored.items()})
        if problem:
            raise ValueError(problem)
        if meta.pop(_CHECKSUM, None) != str(_checksum(stored)):
            raise ValueError("its checksum does not fit its numbers")
    except FileNotFoundError:
        raise
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:
        words = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise RunDirError(f"{path} is damaged ({clean(words)[:200]}): delete it, the others are still used") from None
    tensors = {name: array.astype(_FIELDS[name].dtype) for name, array in stored.items()}
    return Snapshot(step=step, meta=meta, **tensors)


def least_useful(steps: Sequence[int]) -> int | None:
    """Which of the ascending `steps` to give up first, so that those left stay spread evenly in log(step).

    The first and the last are never given up: the one shows where training began, the other where it stands. Of the
    others it is the one whose neighbours lie closest together on the log axis. None if only two are left.
    """
    if len(steps) < 3:
        return None
    gaps = [math.log((steps[i + 1] + 1) / (steps[i - 1] + 1)) for i in range(1, len(steps) - 1)]
    return steps[1 + min(range(len(gaps)), key=gaps.__getitem__)]


def _storable(name: str, array: np.ndarray) -> np.ndarray:
    if name not in _FIELDS:
        raise ShapeError(f"a snapshot has no tensor {name!r}; known: {', '.join(_FIELDS)}")
    if array.dtype.kind not in ("f" if _FIELDS[name].dtype is np.float32 else "iu"):
        raise ShapeError(f"{name!r} holds {array.dtype}, a snapshot keeps {np.dtype(_FIELDS[name].dtype)}; convert it")
    array = np.ascontiguousarray(array, dtype=_FIELDS[name].dtype)
    if name in ("real", "fake") and array.ndim == 2 and array.shape[1] > EXACT_UP_TO:
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        if np.array_equal(np.isinf(half), np.isinf(array)):  # else a value lies beyond 65504, half precision's end
            return half
    return array


def _misfit(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """What is wrong with these tensors together, or None."""
    for name, shape in shapes.items():
        if len(shape) != _FIELDS[name].dims or 0 in shape:
            return f"{name!r} has shape {shape}, {_FIELDS[name].dims} non-empty dimensions are needed"
    for name in ("real", "fake"):
        if name not in shapes:
            return f"there is no tensor {name!r}"
        for kind in ("labels", "logits"):
            rows = shapes.get(f"{kind}_{name}", shapes[name])[0]
            if rows != shapes[name][0]:
                return f"'{kind}_{name}' has {rows} rows and {name!r} {shapes[name][0]}"
        if shapes.get(f"thumbs_{name}", (0, 0, 0, 1))[3] not in (1, 3):
            return f"'thumbs_{name}' has shape {shapes[f'thumbs_{name}']}, the last dimension must be 1 or 3"
    if shapes["real"][1] != shapes["fake"][1]:
        return f"'real' has {shapes['real'][1]} dimensions and 'fake' {shapes['fake'][1]}"
    return None


def _checksum(stored: Mapping[str, np.ndarray]) -> int:
    value = 0
    for name in sorted(stored):
        value = zlib.crc32(np.ascontiguousarray(stored[name]).data, value)
    return value


def _check_header(data: bytes) -> dict[str, str]:
    """The words of the file's header; refuses a header that is larger than any honest one before it is parsed."""
    if len(data) < 8:
        raise ValueError("too short for a safetensors file")
    (size,) = struct.unpack("<Q", data[:8])
    if size > min(MAX_HEADER, len(data) - 8):
        raise ValueError(f"its header claims {size} bytes")
    try:
        header = json.loads(data[8 : 8 + size])
    except RecursionError:
        raise ValueError("its header nests too deeply") from None
    words = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(words, dict) or not all(isinstance(value, str) for value in words.values()):
        raise ValueError("its header is not a safetensors header")
    return {clean(key): clean(value) for key, value in words.items()}


def _entries(data: bytes) -> list[tuple[str, dict[str, Any]]]:
    import safetensors

    return list(safetensors.deserialize(data))  # type: ignore[no-untyped-call]


def _to_array(name: str, entry: Mapping[str, Any]) -> np.ndarray:
    dtypes = {"F16": np.float16, "F32": np.float32, "I64": np.int64, "U8": np.uint8}
    if entry["dtype"] not in _FIELDS[name].on_disk:
        raise ValueError(f"{name!r} holds {entry['dtype']}, not {' or '.join(_FIELDS[name].on_disk)}")
    return np.frombuffer(entry["data"], dtype=dtypes[entry["dtype"]]).reshape(entry["shape"])
