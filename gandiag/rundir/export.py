"""Scalars in formats that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gandiag.errors import MissingExtra, RunDirError, UnknownName
from gandiag.rundir._batches import Columns
from gandiag.rundir.reader import RunReader
from gandiag.rundir.schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 10_000  # rows formatted at once


def export(run: RunReader | str | Path, to: str, directory: str | Path) -> list[Path]:
    """Write the scalars of a run for another tool.

    Args:
        run: a run directory, or a reader of it.
        to: "parquet" and "csv" write one file, `scalars.parquet` or `scalars.csv`, with a row for each iteration; a
            number that was not measured is null, or nothing between two commas. "tensorboard" writes an event file
            with what was measured; it needs `gandiag[tensorboard]`.
        directory: where to; made if missing.

    Returns:
        The files written.

    Raises:
        UnknownName: for another format.
        RunDirError: if the run cannot be read or the directory not be written.
        MissingExtra: if tensorboard is not installed.
    """
    if to not in _WRITERS:
        raise UnknownName.of("export format", to, _WRITERS)
    reader = run if isinstance(run, RunReader) else RunReader(run)
    columns = reader.scalars()
    directory = Path(directory)
    try:
        return _WRITERS[to](columns, reader, directory)
    except OSError as error:
        raise RunDirError(
            f"cannot export to {directory} ({error.strerror or error}): free disk space or give another directory"
        ) from None


def _parquet(columns: Columns, run: RunReader, directory: Path) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet

    # NaN means "not measured" here, and Parquet has a word for that.
    table = pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
    table = table.replace_schema_metadata({"schema": SCHEMA, "run": run.info.id})
    path = _make(directory) / "scalars.parquet"
    pyarrow.parquet.write_table(table, path)
    return [path]


def _csv(columns: Columns, run: RunReader, directory: Path) -> list[Path]:
    import csv

    path = _make(directory) / "scalars.csv"
    rows = len(columns["iteration"])
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for start in range(0, rows, CHUNK):
            part = [_words(values[start : start + CHUNK]) for values in columns.values()]
            writer.writerows(zip(*part, strict=True))
    return [path]


def _words(values: np.ndarray) -> list[str]:
    # str() of a float32 has the fewest digits that read back as the same float32.
    return ["" if value != value else str(value) for value in values]


def _tensorboard(columns: Columns, run: RunReader, directory: Path) -> list[Path]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtra(
            "export to tensorboard needs the package tensorboard: pip install 'gandiag[tensorboard]'"
        ) from None
    before = set(_make(directory).iterdir())
    seconds = columns.get("time")
    with SummaryWriter(str(directory)) as writer:
        for name, values in columns.items():
            if name in ("iteration", "time"):
                continue
            for row in np.flatnonzero(~np.isnan(values)):
                clock = None if seconds is None or np.isnan(seconds[row]) else float(seconds[row])
                step = int(columns["iteration"][row])
                writer.add_scalar(name, float(values[row]), step, walltime=clock)
    return sorted(set(directory.iterdir()) - before)


def _make(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


_WRITERS: dict[str, Callable[[Columns, RunReader, Path], list[Path]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "tensorboard": _tensorboard,
}
