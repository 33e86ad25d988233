"""What a format reads (`Log`), where formats are kept, and how the one that fits a path is found.

A format is a module with two functions:

    def sniff(path: Path) -> bool: ...                                # cheap, never raises for what it does not know

    @log_format("csv_table", title="a CSV table", order=30, sniff=sniff)
    def read(path: Path) -> Log: ...                                  # RunDirError where it cannot be read
"""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gandiag.errors import RunDirError
from gandiag.registry import Registry

Steps = NDArray[np.int64]
Values = NDArray[np.float64]

MOST = 400_000
"""Points of one column that are kept; analyzers look at a hundred medians. Beyond it neighbours are merged."""
COLUMNS = 512
"""Columns of one log that are read. More of them are a log of single weights, not of a training."""
LARGEST_STEP = 2**62
HEAD = 1 << 16
"""Bytes from which a format must be recognised."""


class Series:
    """The measured points of one column in the order of the log, in bounded memory.

    NaN and infinity are points, too: they were logged. What was not measured is no point.

    Attributes:
        stride: how many points of the log one point here stands for.
    """

    def __init__(self) -> None:
        self.stride = 1
        self._steps, self._values = array("q"), array("d")
        self._step, self._value, self._held = 0, 0.0, 0

    def add(self, step: int, value: float) -> None:
        """Append one point; `step` in 0..2**62."""
        # In a merged point the one that is not finite wins: a thousand steps must not hide the one that broke.
        if not self._held or math.isfinite(self._value):
            self._value = value
        self._step = step
        self._held += 1
        if self._held == self.stride:
            self._steps.append(self._step)
            self._values.append(self._value)
            self._held = 0
            if len(self._steps) >= MOST:
                self._merge()

    def cut(self, step: int) -> None:
        """Forget the points at `step` and later, as a restart from there does."""
        steps, values = self.points()
        kept = steps < step
        self._held = 0
        self._steps, self._values = array("q", steps[kept].tolist()), array("d", values[kept].tolist())

    def points(self) -> tuple[Steps, Values]:
        """Steps, int64 [n], in the order of the log, and values, float64 [n]."""
        steps, values = np.array(self._steps, dtype=np.int64), np.array(self._values, dtype=np.float64)
        if self._held:
            steps, values = np.append(steps, self._step), np.append(values, self._value)
        return steps, values

    def __len__(self) -> int:
        return len(self._steps) + bool(self._held)

    def _merge(self) -> None:
        even = len(self._steps) // 2 * 2
        pairs = np.array(self._values[:even], dtype=np.float64).reshape(-1, 2)
        merged = np.where(np.isfinite(pairs[:, 0]), pairs[:, 1], pairs[:, 0])
        steps, values = self._steps[1:even:2] + self._steps[even:], array("d", merged.tolist()) + self._values[even:]
        self._steps, self._values = steps, values
        self.stride *= 2


@dataclass(frozen=True, kw_only=True)
class Log:
    """One training as somebody else's logger wrote it down.

    Attributes:
        path: the file or folder.
        title: what it is, such as "a CSV table".
        series: the columns, by the names that they have in the log.
        axis: what a step counts, in words: "iterations", "epochs", "images", ...
        notes: what was left out and why, a sentence each.
    """

    path: Path
    title: str
    series: Mapping[str, Series]
    axis: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """One format: its key, what it is called, its rank among those that fit a folder, and its two functions."""

    name: str
    title: str
    order: int
    sniff: Callable[[Path], bool]
    read: Callable[[Path], Log]


FORMATS: Registry[Format] = Registry("log format", "gandiag.logs")


def log_format(
    name: str, *, title: str, order: int, sniff: Callable[[Path], bool]
) -> Callable[[Callable[[Path], Log]], Callable[[Path], Log]]:
    """Register a reader. Of the formats that a path fits, the one with the lowest `order` is read."""

    def decorate(read: Callable[[Path], Log]) -> Callable[[Path], Log]:
        FORMATS.add(name, Format(name, title, order, sniff, read), home=read.__module__)
        return read

    return decorate


def find(path: str | os.PathLike[str]) -> Format | None:
    """The format of the log at `path`, or None where it is no log that gandiag knows.

    Raises:
        RunDirError: if there is a file that cannot be read.
    """
    there = Path(path)
    try:
        fitting = [form for form in FORMATS if there.exists() and form.sniff(there)]
    except (OSError, ValueError):  # not readable, or no path at all, as with a NUL in it
        return None
    return min(fitting, key=lambda form: form.order, default=None)


def formats_in_words() -> str:
    """The formats that are known, for a message."""
    return ", ".join(form.title for form in sorted(FORMATS, key=lambda form: form.order))


def head(path: Path) -> bytes:
    """The first bytes of a regular file; none of anything else (opening a pipe would wait for its writer).

    Raises:
        RunDirError: if the system does not give them.
    """
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise unreadable(path, error) from None


def the_one(paths: list[Path], folder: Path, what: str) -> Path:
    """The only path; with several of them a message that asks for one.

    Raises:
        RunDirError: if there are several.
    """
    if len(paths) == 1:
        return paths[0]
    names = ", ".join(str(path.relative_to(folder)) for path in paths[:8])
    raise RunDirError(
        f"{folder} holds {len(paths)} {what}: give one of them ({names}{', ...' if len(paths) > 8 else ''})"
    )


def unreadable(path: Path, error: OSError) -> RunDirError:
    """The message for a file that the system does not give."""
    return RunDirError(f"cannot read {path} ({error.strerror or error}): check that it is there and readable")
