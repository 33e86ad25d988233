"""Fewer, larger batches for the segments of slow trainings.

A batch takes about 50 bytes a column beside its numbers. A training of a second an iteration flushes five rows at a
time, and its segments would take four times the room of its numbers.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from gandiag.rundir._batches import CHECKSUM, Columns, sound_columns, to_batch
from gandiag.rundir._files import read_file, write_atomically

#: A segment of so many batches is ended and packed if they hold fewer rows than this each. At 1,000 of them the
#: training waits some tenths of a second, which is once in an hour where flushes are 5 seconds apart.
BATCHES, LOOSE = 1000, 80
#: Rows of a batch afterwards.
PACKED = 1000
_LARGEST = 1 << 26  # bytes: beyond it the training would wait too long


def pack(path: Path) -> bool:
    """Write the rows of an ended segment anew, in large batches, in one atomic step.

    A reader sees the old file or the new one, and a kill leaves one of them. Every batch is checked on the way. The
    segment stays as it is where it is damaged, so that its damage is told, and where the disk has no room for both.

    Returns:
        Whether it was packed.
    """
    import pyarrow as pa

    try:
        batches = _read(read_file(path, _LARGEST))
        if batches is None:
            return False
        return write_atomically(path, _write(batches), durable=True)
    except (OSError, pa.ArrowException):
        return False


def _read(data: bytes) -> list[Columns] | None:
    import pyarrow as pa

    batches: list[Columns] = []
    with pa.ipc.open_stream(pa.py_buffer(data), options=pa.ipc.IpcReadOptions(use_threads=False)) as stream:
        while True:
            try:
                columns = sound_columns(*stream.read_next_batch_with_custom_metadata())
            except StopIteration:
                return batches
            if columns is None:
                return None
            batches.append(columns)


def _write(batches: list[Columns]) -> bytes:
    import pyarrow as pa

    whole = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    rows = len(whole["iteration"])
    parts = [
        to_batch({name: column[start : start + PACKED] for name, column in whole.items()})
        for start in range(0, rows, PACKED)
    ]
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, parts[0][0].schema, options=pa.ipc.IpcWriteOptions(use_threads=False)) as stream:
        for batch, checksum in parts:
            stream.write_batch(batch, custom_metadata={CHECKSUM: str(checksum).encode()})
    return sink.getvalue()
