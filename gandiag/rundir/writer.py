"""Writing a run directory, so that a kill at any byte loses only what was not yet handed over."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from gandiag.errors import RunDirError, UsageError
from gandiag.rundir._files import Attempt, attempts, write_atomically, write_whole
from gandiag.rundir._text import clean, plain
from gandiag.rundir.schema import INFO_FILE, SCHEMA, RunInfo, read_info
from gandiag.rundir.segments import ROTATE_AT, SegmentWriter, read_segment, segment_files
from gandiag.rundir.snapshots import MAX_STEP, least_useful, pack, snapshot_files, snapshot_name

EVENTS_FILE = "events.jsonl"
MAX_EVENT = 1 << 20
SNAPSHOT_CAP = 1 << 30


def default_path(script_name: str) -> Path:
    """Where a run of `script_name` is recorded if nobody says otherwise: `runs/<script name>-<date>-<id>`.

    >>> default_path("examples/train gan.py")  # doctest: +SKIP
    PosixPath('runs/train-gan-2026-11-03-5f0c2a')
    """
    stem = re.sub(r"[^A-Za-z0-9_.]+", "-", Path(script_name).name.removesuffix(".py")).strip("-.")[:64] or "run"
    return Path("runs") / f"{stem}-{datetime.now().astimezone():%Y-%m-%d}-{secrets.token_hex(3)}"


class RunWriter:
    """Records one attempt of a run, as one rank sees it.

    A new directory begins the run; one that holds a run already is continued as its next attempt. Every process
    gets a folder of its own, `rank{R}.a{N}`, and writes nowhere else; `run.json` alone is shared, and only rank 0
    writes it. A process forked off after that (a DataLoader's worker) writes nothing.

    Not thread-safe: one thread records.

    Args:
        path: the run directory; made with its parents where it is missing.
        info: fields of `RunInfo` known at the start. A continued run keeps its `id`, `created` and `parent`.
        rank: of this process.
        attempt: the least number of this attempt, where a launcher counts them: a rank that died before it could
            record would else number the next one lower than its peers do.
        snapshot_cap: bytes that the snapshots of the run may take; beyond it they are thinned.
        rotate_at: bytes after which a scalar segment is ended and the next begun.

    Raises:
        RunDirError: if the directory cannot be written, or holds something else. Every other method raises it too
            when the disk fails: the caller is to switch recording off and let the training go on.
    """

    path: Path  #: the run directory
    folder: Path  #: this attempt's own folder in it
    attempt: int  #: 0 for the first
    id: str  #: of the run; "" for a rank that began before rank 0 did
    last_iteration: int  #: the highest iteration of earlier attempts; 0 for a new run

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        info: Mapping[str, Any],
        rank: int = 0,
        attempt: int = 0,
        snapshot_cap: int = SNAPSHOT_CAP,
        rotate_at: int = ROTATE_AT,
    ) -> None:
        self.path = Path(path).absolute()  # the script may change its working directory
        self._rank = rank
        self._process = os.getpid()
        self._closed = False
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Before anything is written: a directory that holds somebody else's run.json is refused untouched.
            earlier = read_info(self.path) if (self.path / INFO_FILE).exists() else None
            self.attempt, self.folder = self._claim(attempt)
        except (OSError, ValueError) as error:
            raise RunDirError(f"cannot make the run directory {self.path} ({_why(error)}): give another one") from None
        before = [other for other in attempts(self.path) if other.number < self.attempt]
        self.last_iteration = max(map(_last_iteration, before), default=0)
        self._snapshots: dict[int, int] = {}  # bytes by step
        taken = sum(_size(path) for other in before for path in snapshot_files(other.folder).values())
        # Nobody deletes in another attempt's folder: so a long history leaves less for this one, but never nothing.
        self._cap = max(snapshot_cap - taken, snapshot_cap // 4)
        self._segments = SegmentWriter(self.folder, rotate_at=rotate_at)
        self._torn_event = False
        self._info = self._begin(earlier, info)
        self.id = self._info.id if self._rank == 0 else str(info.get("id") or (earlier.id if earlier else ""))
        if self.attempt:
            self.event("attempt", step=self.last_iteration, attempt=self.attempt)

    def update_info(self, **fields: Any) -> None:
        """Change fields of `run.json`, in one atomic step. On a rank other than 0 it does nothing.

        Raises:
            RunDirError: if a field has a wrong type, or the disk fails.
        """
        self._write_info(durable=False, **fields)

    def append(self, columns: Mapping[str, np.ndarray]) -> None:
        """Append rows of scalars; they survive a kill of this process from the moment that this returns.

        Args:
            columns: equally long 1-D arrays by column name: int64, float32 or bool (other widths are converted).
                "iteration" (int64, from 0 up) must be among them. Another set of columns than last time begins a
                new segment, so keep to one set and give NaN for what was not measured.

        Raises:
            ShapeError: if the columns do not fit together.
            RunDirError: if the disk does not take them.
        """
        if self._is_mine():
            self._segments.append(columns)

    def snapshot(self, step: int, tensors: Mapping[str, np.ndarray], meta: Mapping[str, str]) -> Path:
        """Write the snapshot of iteration `step`, then thin out older ones if all take more than the cap.

        Args:
            step: the iteration, 0 or more.
            tensors: by field name of `Snapshot`; embeddings of more than 64 dimensions are stored as float16.
            meta: words about it; the key "crc32" is taken.

        Returns:
            Its path.

        Raises:
            ShapeError: if a tensor does not fit.
            RunDirError: if the disk does not take it.
        """
        if not 0 <= step < MAX_STEP:
            raise UsageError(f"a snapshot's step must be from 0 up, got {step}")
        path = self.folder / "snapshots" / snapshot_name(step)
        if not self._is_mine():
            return path
        data = pack(tensors, meta)
        try:
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, data)
            self._snapshots[step] = len(data)
            self._thin()
        except OSError as error:
            raise _disk_error(path, error) from None
        return path

    def event(self, kind: str, *, step: int | None = None, **fields: Any) -> None:
        """Append one line to `events.jsonl`: `{"time": seconds since 1970, "kind", "step", ...fields}`.

        Raises:
            UsageError: if it takes more than 1 MiB.
            RunDirError: if the disk does not take it.
        """
        if not self._is_mine():
            return
        event = {**plain(fields), "time": time.time(), "kind": clean(kind), "step": None if step is None else int(step)}
        line = json.dumps(event).encode() + b"\n"
        if len(line) > MAX_EVENT:
            raise UsageError(f"the event {kind!r} takes {len(line)} bytes, at most {MAX_EVENT} are kept; say less")
        path = self.folder / EVENTS_FILE
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
            try:
                # After a full disk the file ends in half a line, and this one must not be joined to it.
                torn, self._torn_event = self._torn_event, True
                write_whole(descriptor, b"\n" + line if torn else line)
                self._torn_event = False
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _disk_error(path, error) from None

    def close(self, status: str = "finished") -> None:
        """End the recording; a second call does nothing.

        Args:
            status: "finished" or "failed".
        """
        if self._closed or not self._is_mine():
            return
        try:
            self._segments.close()
        finally:
            self._write_info(durable=True, status=status)
            self._closed = True

    def _is_mine(self) -> bool:
        if self._closed:
            raise RunDirError(f"the recording in {self.folder} is closed: open a new RunWriter to continue the run")
        return os.getpid() == self._process

    def _claim(self, least: int) -> tuple[int, Path]:
        """Make this process's own folder. `mkdir` is the lock: of two processes that race, one gets the name."""
        taken = [other.number for other in attempts(self.path) if other.rank == self._rank]
        for number in count(max(least, max(taken, default=-1) + 1)):
            folder = self.path / f"rank{self._rank}.a{number}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return number, folder
        raise AssertionError("itertools.count ended")

    def _begin(self, earlier: RunInfo | None, info: Mapping[str, Any]) -> RunInfo:
        fresh = {"id": secrets.token_hex(4), "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", **info}
        given = RunInfo.of({**fresh, "schema": SCHEMA, "status": "running"})
        if self._rank != 0:
            return given
        path = self.path / INFO_FILE
        try:
            if earlier is None:
                if write_atomically(path, given.to_json(), only_new=True, durable=True):
                    return given
                earlier = read_info(self.path)  # another process was first by a moment: this one is its next attempt
            keep = {"id": earlier.id, "created": earlier.created, "parent": earlier.parent or given.parent}
            old, new = (model.model_dump(by_alias=True, exclude_unset=True) for model in (earlier, given))
            merged = RunInfo.of({**old, **new, **keep})
            write_atomically(path, merged.to_json(), durable=True)
        except OSError as error:
            raise _disk_error(path, error) from None
        return merged

    def _write_info(self, *, durable: bool, **fields: Any) -> None:
        if self._rank != 0 or not self._is_mine():
            return
        keep = {"schema": SCHEMA, "id": self._info.id}
        self._info = RunInfo.of({**self._info.model_dump(by_alias=True), **fields, **keep})
        path = self.path / INFO_FILE
        try:
            write_atomically(path, self._info.to_json(), durable=durable)
        except OSError as error:
            raise _disk_error(path, error) from None

    def _thin(self) -> None:
        while sum(self._snapshots.values()) > self._cap:
            step = least_useful(sorted(self._snapshots))
            if step is None:
                return
            (self.folder / "snapshots" / snapshot_name(step)).unlink(missing_ok=True)
            del self._snapshots[step]


def _last_iteration(attempt: Attempt) -> int:
    """The highest iteration that `attempt` left a trace of.

    Snapshots count too: they are written at once, where scalars wait for the next flush.
    """
    last = max(snapshot_files(attempt.folder), default=0)
    for path in reversed(segment_files(attempt.folder)):
        iteration = read_segment(path, names=frozenset()).columns["iteration"]
        if len(iteration):
            return max(last, int(iteration.max()))
    return last


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # thinned by its own process just now
        return 0


def _disk_error(path: Path, error: OSError) -> RunDirError:
    return RunDirError(f"cannot write {path} ({_why(error)}): free disk space or give another --run-dir")


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
