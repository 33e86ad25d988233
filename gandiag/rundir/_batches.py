"""Batches of rows as Arrow keeps them: checked when they are made, and again when they come back from a disk."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gandiag.errors import ShapeError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_COLUMNS = 20_000
MAX_COLUMN_NAME = 512
MAX_ITERATION = 2**62

CHECKSUM = b"crc32"

Columns = dict[str, np.ndarray]


def to_batch(columns: Mapping[str, np.ndarray]) -> tuple[pa.RecordBatch, int]:
    """A batch of the columns, "iteration" first, and its checksum.

    Raises:
        ShapeError: if the columns do not fit together.
    """
    import pyarrow as pa

    if "iteration" not in columns:
        raise ShapeError(f"a batch of rows needs the column 'iteration', got {sorted(columns)[:8]}; add it")
    if len(columns) > MAX_COLUMNS:
        raise ShapeError(f"a batch of rows has {len(columns)} columns, at most {MAX_COLUMNS} are kept; record fewer")
    # Sorted, so that the order in which a probe reports does not start a new segment.
    names = ["iteration", *sorted(set(columns) - {"iteration"})]
    arrays = [_storable(name, np.asarray(columns[name])) for name in names]
    rows = len(arrays[0])
    for name, array in zip(names, arrays, strict=True):
        if len(array) != rows:
            raise ShapeError(f"column {name!r} has {len(array)} rows and 'iteration' {rows}; give equal lengths")
    if rows and (arrays[0].min() < 0 or arrays[0].max() >= MAX_ITERATION):
        raise ShapeError("the column 'iteration' must count from 0 up; it holds negative or huge values")
    return pa.RecordBatch.from_arrays([_to_arrow(array) for array in arrays], names=names), checksum(arrays)


def _to_arrow(array: np.ndarray) -> pa.Array:
    # `pa.array` would ask pandas what this is, and so import it into the training wherever it is installed.
    import pyarrow as pa

    bits = np.packbits(array, bitorder="little") if array.dtype == np.bool_ else array
    kind = {"b": pa.bool_(), "i": pa.int64(), "f": pa.float32()}[array.dtype.kind]
    return pa.Array.from_buffers(kind, len(array), [None, pa.py_buffer(bits)], null_count=0)


def _storable(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim != 1:
        raise ShapeError(f"column {name!r} has shape {array.shape}; give one number for each row")
    if not name or len(name) > MAX_COLUMN_NAME:
        raise ShapeError(f"a column's name must have 1 to {MAX_COLUMN_NAME} characters, got {name[:40]!r}")
    kinds = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float32}
    if array.dtype.kind not in kinds or (name == "iteration" and array.dtype.kind not in "iu"):
        raise ShapeError(f"column {name!r} holds {array.dtype}; give int64, float32 or bool ('iteration': int64)")
    if array.dtype == kinds[array.dtype.kind] and array.flags.c_contiguous:
        return array
    with np.errstate(over="ignore"):  # a loss of 1e300 is as lost as an infinite one
        return np.ascontiguousarray(array, dtype=kinds[array.dtype.kind])


def checksum(arrays: list[np.ndarray]) -> int:
    """CRC-32 of the columns, one after the other."""
    value = 0
    for array in arrays:
        value = zlib.crc32(array.data, value)
    return value


def check_schema(schema: pa.Schema) -> None:
    """Raise ValueError if these are not columns as gandiag writes them."""
    import pyarrow as pa

    if len(schema) > MAX_COLUMNS or len(set(schema.names)) != len(schema):
        raise ValueError("too many columns, or two of one name")
    if any(kind not in (pa.int64(), pa.float32(), pa.bool_()) for kind in schema.types):
        raise ValueError("a column is neither int64, float32 nor bool")
    if max(map(len, schema.names), default=0) > MAX_COLUMN_NAME:
        raise ValueError("a column's name is too long")
    if "iteration" not in schema.names or schema.field("iteration").type != pa.int64():
        raise ValueError("there is no int64 column 'iteration'")


def sound_columns(batch: pa.RecordBatch, metadata: Mapping[bytes, bytes] | None) -> Columns | None:
    """The columns of a batch as they were written, or None if they are not what was written."""
    batch.validate(full=True)  # buffers long enough for the rows they claim; raises ArrowInvalid
    if any(column.null_count for column in batch.columns):
        return None
    arrays = [column.to_numpy(zero_copy_only=False) for column in batch.columns]
    if dict(metadata or {}).get(CHECKSUM) != str(checksum(arrays)).encode():
        return None
    columns = dict(zip(batch.schema.names, arrays, strict=True))
    iteration = columns["iteration"]
    if len(iteration) and (iteration.min() < 0 or iteration.max() >= MAX_ITERATION):
        return None
    return columns
