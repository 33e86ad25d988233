"""Reading a run directory, finished or still being written, and trusting nothing in it.

Whatever the bytes are, only `RunDirError` leaves this module. What is torn at its end is normal (the run goes on, or
was killed): it is left out and counted in `notes`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gandiag.errors import RunDirError
from gandiag.rundir._batches import Columns
from gandiag.rundir._files import Attempt, attempts, read_file, write_atomically
from gandiag.rundir._text import parse_object
from gandiag.rundir.merge import Merge, needed
from gandiag.rundir.schema import INFO_FILE, RunInfo, read_info
from gandiag.rundir.segments import read_segment, segment_files
from gandiag.rundir.snapshots import Snapshot, load, snapshot_files
from gandiag.rundir.writer import EVENTS_FILE, MAX_EVENT

MAX_EVENTS = 64 << 20  # bytes of one attempt's events
MAX_CELLS = 1 << 30  # numbers in one table of scalars: 4 GiB

_DERIVED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


class RunReader:
    """One run directory, opened for reading.

    Args:
        path: the directory that holds `run.json`.

    Attributes:
        path: the directory.
        info: what `run.json` says.
        derived: the folder of what is computed from the run; may not exist yet.
        damaged: the snapshots that `snapshots()` passed over, and why.

    Raises:
        RunDirError: if the directory or its `run.json` is missing, foreign, damaged or of a newer gandiag.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        _check_directory(self.path)
        self.info: RunInfo = read_info(self.path)
        self.derived = self.path / "derived"
        self.damaged: list[str] = []
        self._notes: dict[Path, str] = {}

    @property
    def notes(self) -> list[str]:
        """What was left out so far: torn tails, damaged batches, unreadable lines; a sentence for each file."""
        return [f"{path.relative_to(self.path)}: {note}" for path, note in sorted(self._notes.items())]

    @property
    def ranks(self) -> list[int]:
        """The ranks that left a folder here, ascending."""
        return sorted({attempt.rank for attempt in self._attempts()})

    def scalars(self, *, names: Iterable[str] | None = None, rank: int | None = None) -> Columns:
        """The scalars of all attempts, as one table.

        Where two attempts recorded the same iteration, the row of the later one is taken. What several ranks
        recorded is merged to what one process would have seen of the joint batch; how is said in `rundir.merge`.

        Args:
            names: only these columns, those that exist; by default all.
            rank: what this rank alone recorded; by default all ranks are merged.

        Returns:
            "iteration", int64 and strictly ascending, and the other columns as float32 of the same length, NaN where
            nothing was measured.

        Raises:
            RunDirError: if the table would take more than 4 GiB.
        """
        wanted = None if names is None else frozenset(names)
        ranks = self.ranks if rank is None else [rank]
        if rank is None:
            self._note_missing(len(ranks))
        shards = self._shards()
        if len(ranks) == 1 and (rank is not None or not shards):
            return self._of_rank(ranks[0], wanted)
        merge = Merge(shards, self.info.ranks)
        for each in ranks:
            merge.add(self._of_rank(each, None if wanted is None else needed(wanted)))
        table = merge.result()
        return table if wanted is None else {name: table[name] for name in table if name in wanted | {"iteration"}}

    def _of_rank(self, rank: int, wanted: frozenset[str] | None) -> Columns:
        """The scalars of all attempts of one rank."""
        parts: list[tuple[int, Columns]] = []
        cells = 0
        for attempt in self._attempts(rank=rank):
            for path in segment_files(attempt.folder):
                segment = read_segment(path, names=wanted)
                self._note(path, segment.fault)
                parts.append((attempt.number, segment.columns))
                cells += len(segment.columns) * len(segment.columns["iteration"])
                _check_cells(cells)
        return _join(parts)

    def snapshot_steps(self) -> list[int]:
        """The iterations that have a snapshot, ascending."""
        return sorted(self._snapshot_paths())

    def snapshot(self, step: int) -> Snapshot:
        """The snapshot of iteration `step`, of the latest attempt that has one.

        Raises:
            RunDirError: if there is none, or it is damaged.
        """
        paths = self._snapshot_paths()
        try:
            return load(paths[step], step)
        except (KeyError, FileNotFoundError):
            known = ", ".join(map(str, sorted(paths)[-8:])) or "none"
            raise RunDirError(f"{self.path} has no snapshot of step {step}; the latest it has: {known}") from None

    def snapshots(self) -> Iterator[Snapshot]:
        """All snapshots in order of their steps; damaged ones are passed over and named in `damaged`."""
        for step, path in sorted(self._snapshot_paths().items()):
            try:
                yield load(path, step)
            except FileNotFoundError:
                continue  # thinned by the run since we looked
            except RunDirError as error:
                if str(error) not in self.damaged:
                    self.damaged.append(str(error))

    def events(self) -> list[dict[str, Any]]:
        """The events of all attempts and ranks, in the order of attempts; each also says its "rank" and "attempt"."""
        found = []
        for attempt in self._attempts():
            for event in self._read_events(attempt.folder / EVENTS_FILE):
                found.append({**event, "rank": attempt.rank, "attempt": attempt.number})
        return found

    def write_derived(self, name: str, data: bytes | str) -> Path:
        """Write a file computed from this run into `derived/`, atomically.

        Raises:
            RunDirError: if `name` is not a plain file name, or the disk does not take it.
        """
        if not _DERIVED_NAME.fullmatch(name):
            raise RunDirError(f"{name[:64]!r} cannot be a file in {self.derived}: give a plain name like 'nulls.json'")
        path = self.derived / name
        try:
            self.derived.mkdir(exist_ok=True)
            if self.derived.is_symlink():
                # A run directory from elsewhere could point it anywhere, and analyzing would overwrite files there.
                raise RunDirError(f"{self.derived} is a link: replace it by a folder, or delete it")
            write_atomically(path, data.encode() if isinstance(data, str) else data)
        except OSError as error:
            raise RunDirError(
                f"cannot write {path} ({error.strerror or error}): make the run directory writable, or copy it"
            ) from None
        return path

    def _note_missing(self, found: int) -> None:
        """On several machines without a common disk, each has the folders of its own ranks only."""
        missing = f"{found} of {self.info.ranks} left a folder here; all is judged by those"
        self._note(self.path / "ranks", missing if 0 < found < self.info.ranks else None)

    def _shards(self) -> dict[str, int]:
        """For each role of a sharded net, "d" or "g", over how many ranks one copy of it is spread."""
        found = {}
        for role, key in (("discriminator", "d"), ("generator", "g")):
            shards = self.info.roles.get(role, {}).get("shards")
            if isinstance(shards, int) and not isinstance(shards, bool) and 1 < shards <= self.info.ranks:
                found[key] = shards
        return found

    def _attempts(self, rank: int | None = None) -> list[Attempt]:
        return [attempt for attempt in attempts(self.path) if rank in (None, attempt.rank)]

    def _snapshot_paths(self) -> dict[int, Path]:
        paths: dict[int, Path] = {}
        for attempt in self._attempts(rank=0):
            paths |= snapshot_files(attempt.folder)
        return paths

    def _read_events(self, path: Path) -> Iterator[dict[str, Any]]:
        try:
            lines = read_file(path, MAX_EVENTS).split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            self._note(path, f"left out ({error.strerror or error})")
            return
        bad = 0
        for line in lines:
            try:
                event = parse_object(line) if line and len(line) <= MAX_EVENT else None
            except ValueError:
                event = None
            if event is not None and _is_event(event):
                yield event
            else:
                bad += bool(line)
        self._note(path, f"{bad} torn or unreadable lines were left out" if bad else None)

    def _note(self, path: Path, note: str | None) -> None:
        if note is None:
            self._notes.pop(path, None)  # the tail that was torn is whole by now
        else:
            self._notes[path] = note


def _check_directory(path: Path) -> None:
    try:
        if path.is_dir():
            if not any(path.iterdir()):
                raise RunDirError(f"{path} is an empty directory: nothing was recorded there; give another run")
            return
        exists = path.exists()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise RunDirError(f"cannot read the run directory {str(path)[:256]!r} ({why}): check the path") from None
    if not exists:
        raise RunDirError(f"there is no run directory {path}: check the path, or record one with `gandiag run`")
    cure = f"give {path.parent}" if path.name == INFO_FILE else f"give the directory that holds {INFO_FILE}"
    raise RunDirError(f"{path} is a file, not a run directory: {cure}")


def _is_event(event: dict[str, Any]) -> bool:
    step, time = event.get("step"), event.get("time")
    return (
        isinstance(event.get("kind"), str)
        and (step is None or (isinstance(step, int) and not isinstance(step, bool) and 0 <= step < 2**62))
        and (time is None or (isinstance(time, int | float) and not isinstance(time, bool)))
    )


def _check_cells(cells: int) -> None:
    if cells > MAX_CELLS:
        raise RunDirError(
            f"the scalars are {cells} numbers or more, and gandiag loads {MAX_CELLS} at once: "
            "ask for some columns, as in scalars(names=['loss/d'])"
        )


def _join(parts: list[tuple[int, Columns]]) -> Columns:
    """Tables, each with the number of its attempt, as one table with a row for each iteration.

    Where attempts overlap, the rows of the latest are taken. Rows of one iteration within an attempt are one row in
    pieces: what was measured later wins, and a NaN does not hide what another piece has.

    The parts are emptied on the way: a long run takes hundreds of megabytes, and would otherwise take them twice.
    """
    rows = sum(len(part["iteration"]) for _, part in parts)
    names = sorted({name for _, part in parts for name in part} - {"iteration"})
    _check_cells(rows * len(names))
    if not rows:
        return {"iteration": np.empty(0, np.int64)}
    written = np.concatenate([part["iteration"] for _, part in parts])
    attempt = np.concatenate([np.full(len(part["iteration"]), number) for number, part in parts])
    iteration, target = np.unique(written, return_inverse=True)
    latest = np.zeros(len(iteration), np.int64)
    np.maximum.at(latest, target, attempt)
    valid = attempt == latest[target]
    table = {"iteration": iteration}
    for name in names:
        column = np.full(len(iteration), np.nan, np.float32)
        start = 0
        for _, part in parts:
            here = slice(start, start := start + len(part["iteration"]))
            if name in part:
                values = part.pop(name)
                measured = valid[here] & ~np.isnan(values)
                column[target[here][measured]] = values[measured]
        table[name] = column
    return table
