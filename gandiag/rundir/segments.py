"""Scalar columns on disk: Arrow IPC stream segments, written a batch at a time and read with distrust.

Source of the format: Apache Arrow columnar format, "IPC streaming format". A stream is one schema message and then
record batches, each of them self-contained, so what was flushed can be read whatever happens afterwards. Each batch
also carries a CRC-32 of its columns in its own metadata: Arrow checks the framing, not the numbers.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gandiag.errors import RunDirError
from gandiag.rundir._batches import CHECKSUM, Columns, check_schema, sound_columns, to_batch
from gandiag.rundir._files import numbered, read_file, write_whole
from gandiag.rundir._ipc import plain_batches
from gandiag.rundir._packing import BATCHES, LOOSE, pack

if TYPE_CHECKING:
    import pyarrow as pa

ROTATE_AT = 64 << 20
MAX_SEGMENT = 1 << 28  # rotation and one large batch

SEGMENT_FILE = re.compile(r"scalars-(\d{5,9})\.arrows", re.ASCII)


class SegmentWriter:
    """Appends batches of rows to the segments of one attempt's folder.

    A new set of columns begins a new segment, and so does a segment of `rotate_at` bytes, or of many small batches:
    that one is then packed. What `append` was given is with the operating system when it returns, so that a `kill -9`
    right after it loses nothing.
    """

    def __init__(self, folder: Path, *, rotate_at: int = ROTATE_AT) -> None:
        self._folder = folder
        self._rotate_at = rotate_at
        self._next = 0
        self._path = folder
        self._size = self._batches = self._rows = 0
        self._descriptor: int | None = None
        # Arrow writes a message in many small pieces. They are gathered here and handed over in one `write`,
        # which is faster, and leaves a torn message only where a disk fills up or a kill falls into that call.
        self._sink = io.BytesIO()
        self._stream: Any = None
        self._schema: pa.Schema | None = None

    def append(self, columns: Mapping[str, np.ndarray]) -> None:
        """Append rows; see `RunWriter.append`.

        Raises:
            ShapeError: if the columns do not fit together.
            RunDirError: if the disk does not take them. The next call starts a new segment.
        """
        batch, checksum = to_batch(columns)
        if not batch.num_rows:
            return
        try:
            if batch.schema != self._schema or self._size >= self._rotate_at or self._is_loose():
                self._begin(batch.schema)
            self._stream.write_batch(batch, custom_metadata={CHECKSUM: str(checksum).encode()})
            self._flush()
            self._batches += 1
            self._rows += batch.num_rows
        except OSError as error:
            self._abandon()
            raise RunDirError(
                f"cannot append to {self._folder} ({error.strerror or error}): free disk space or give another "
                "--run-dir; what was written before stays readable"
            ) from None

    def close(self) -> None:
        """End the open segment, if there is one."""
        if self._stream is None:
            return
        try:
            self._stream.close()  # adds the end-of-stream mark
            self._flush()
        except OSError as error:
            raise RunDirError(f"cannot end the segment in {self._folder} ({error.strerror or error})") from None
        finally:
            self._abandon()

    def _begin(self, schema: pa.Schema) -> None:
        import pyarrow as pa

        loose = self._is_loose()
        self.close()
        if loose:
            pack(self._path)
        self._path = self._folder / f"scalars-{self._next:05d}.arrows"
        self._next += 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(self._path, flags, 0o666)
        self._size = self._batches = self._rows = 0
        self._stream = pa.ipc.new_stream(self._sink, schema, options=pa.ipc.IpcWriteOptions(use_threads=False))
        self._schema = schema

    def _is_loose(self) -> bool:
        return self._batches >= BATCHES and self._rows < LOOSE * self._batches

    def _flush(self) -> None:
        assert self._descriptor is not None
        data = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        write_whole(self._descriptor, data)
        self._size += len(data)

    def _abandon(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._stream, self._schema = None, None, None
        self._sink = io.BytesIO()


@dataclass(frozen=True, slots=True)
class Segment:
    """What one segment file gave: the rows of its sound batches in order, and what was wrong with the rest."""

    columns: Columns
    fault: str | None


def segment_files(folder: Path) -> list[Path]:
    """The segments of an attempt's folder, oldest first."""
    return list(numbered(folder, SEGMENT_FILE).values())


def read_segment(path: Path, *, names: frozenset[str] | None = None) -> Segment:
    """Read what is sound in one segment; never raises, whatever the bytes are.

    Args:
        path: the file; it may still be growing.
        names: only these columns ("iteration" always).

    Returns:
        Equally long columns: "iteration" int64 and the others float32. A torn tail ends the segment, a batch with a
        wrong checksum is left out, and both leave a `fault`.
    """
    import pyarrow as pa

    batches: list[Columns] = []
    fault = None
    try:
        data = pa.py_buffer(read_file(path, MAX_SEGMENT))
        plain, foreign = plain_batches(data)
        source, budget = pa.BufferReader(data), len(data)
        stream = pa.ipc.open_stream(source, options=pa.ipc.IpcReadOptions(use_threads=False))
        check_schema(stream.schema)
        for number in itertools.count():
            if foreign is not None and number >= plain:
                raise ValueError(f"holds {foreign}")
            try:
                batch, metadata = stream.read_next_batch_with_custom_metadata()
            except StopIteration:
                break
            # Nothing stops columns from naming the same bytes, and few bytes from becoming many numbers.
            budget -= batch.nbytes
            if budget < 0:
                raise ValueError("its columns share their bytes")
            columns = sound_columns(batch, metadata)
            if columns is None:
                fault = "a damaged batch of rows was left out"
            else:
                batches.append(columns)
        if source.tell() != source.size():
            fault = f"{source.size() - source.tell()} bytes after its end were ignored"
    # Arrow answers hostile bytes with its own exceptions and with most of Python's; tens of thousands of random
    # changes to a segment gave some of these, and neither a crash nor anything else.
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        RuntimeError,
        MemoryError,
        LookupError,
        TypeError,
        struct.error,
    ) as error:
        fault = f"torn or damaged after {sum(len(batch['iteration']) for batch in batches)} rows ({_short(error)})"
    return Segment(_join(batches, names), fault)


def _join(batches: list[Columns], names: frozenset[str] | None) -> Columns:
    """The batches of one segment, which all have the same columns, as one table; without rows if there are none."""
    if not batches:
        return {"iteration": np.empty(0, np.int64)}
    wanted = [name for name in batches[0] if name == "iteration" or names is None or name in names]
    return {
        name: np.concatenate([batch[name] for batch in batches]).astype(
            np.int64 if name == "iteration" else np.float32, copy=False
        )
        for name in wanted
    }


def _short(error: BaseException) -> str:
    words = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
    return words[:120]
