"""Logs that are made of rows: lines of bounded length, and the columns that are worth keeping of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from gandiag.errors import RunDirError
from gandiag.logs._axis import by_step, is_axis
from gandiag.logs._names import meaning
from gandiag.logs.base import COLUMNS, Log, Series

LONGEST = 1 << 20
"""Characters of a line. A file without line ends would else be read into memory as a whole."""


def lines(file: TextIO, path: Path) -> Iterator[str]:
    """The lines of a text file.

    Raises:
        RunDirError: at a line that no logger writes.
    """
    number = 0
    while line := file.readline(LONGEST):
        number += 1
        if len(line) >= LONGEST:
            raise RunDirError(f"{path}: line {number} is longer than {LONGEST:,} characters: this is no log of scalars")
        yield line


class Rows:
    """Collects rows of named numbers.

    Attributes:
        count: rows so far.
        notes: sentences for the log.
    """

    def __init__(self) -> None:
        self.count = 0
        self.notes: list[str] = []
        self._series: dict[str, Series] = {}
        self._kept: dict[str, bool] = {}

    @property
    def next(self) -> int:
        """The number of the row that `add` will append; rows count from 1."""
        return self.count + 1

    def keeps(self, name: str) -> bool:
        """Whether the numbers of a column of this name are wanted."""
        if name not in self._kept:
            if len(self._kept) >= COLUMNS:
                return False
            self._kept[name] = is_axis(name) or meaning(name) is not None
            self._series[name] = Series()
        return self._kept[name]

    def add(self, cells: Iterable[tuple[str, float]]) -> None:
        """Append a row of what was measured; NaN means that NaN was measured."""
        for name, value in cells:
            if self.keeps(name):
                self._series[name].add(self.next, value)
        self.count += 1

    def repair(self, name: str, row: int, value: float) -> None:
        """Give a column a value in a row behind its last one."""
        self._series[name].add(row, value)

    def log(self, path: Path, title: str) -> Log:
        """The columns by step.

        Raises:
            RunDirError: if there was no row.
        """
        if not self.count:
            raise RunDirError(f"{path} is {title} without a row of numbers: nothing was logged there")
        if len(self._kept) >= COLUMNS:
            self.notes.append(f"only the first {COLUMNS} columns were read")
        series, axis, why = by_step(self._series, self.count)
        return Log(path=path, title=title, series=series, axis=axis, notes=(*self.notes, *why))
