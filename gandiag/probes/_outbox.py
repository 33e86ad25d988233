"""What has been measured, on its way to the run directory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from gandiag.probes._columns import Columns, Reduce
from gandiag.probes._transfer import Transfer
from gandiag.probes.base import Row
from gandiag.rundir import RunWriter


class Outbox:
    """Rows and snapshots that are still on their way from their device; nothing here waits but `drain(wait=True)`.

    Every method may raise what a disk and a probe can raise: the caller switches recording off.

    Args:
        writer: of the run directory.
        reduce: makes columns of a stack of batches, see `Probe.reduce`.
        derive: adds columns that follow from others, see `Probe.derive`.
        lost: told of the error if a snapshot cannot be written; rows go on.

    Attributes:
        writer: the same.
    """

    def __init__(
        self,
        writer: RunWriter,
        *,
        reduce: Reduce,
        derive: Callable[[dict[str, np.ndarray]], Any],
        lost: Callable[[Exception], None],
    ) -> None:
        self.writer = writer
        self._reduce = reduce
        self._derive = derive
        self._lost = lost
        self._columns: deque[Columns] = deque()
        self._names: set[str] = set()
        self._shots: deque[tuple[int, Transfer, dict[str, str]]] = deque()

    @property
    def waiting(self) -> bool:
        """Whether rows are still on their way."""
        return bool(self._columns)

    def rows(self, rows: list[Row]) -> None:
        """Send rows off; at least one."""
        self._columns.append(Columns(rows, self._reduce))

    def snapshot(self, step: int, transfer: Transfer, meta: dict[str, str]) -> None:
        """Send a snapshot off."""
        self._shots.append((step, transfer, meta))

    def drain(self, *, wait: bool) -> None:
        """Write what has arrived; all if `wait`."""
        while self._columns and (wait or self._columns[0].ready()):
            columns = self._columns.popleft().result()
            self._derive(columns)
            # What is measured now and then is missing from some flushes; each new set of columns would begin a
            # new file, so a column once seen stays.
            self._names.update(columns)
            rows = len(columns["iteration"])
            for name in self._names - set(columns):
                columns[name] = np.full(rows, np.nan, dtype=np.float32)
            self.writer.append(columns)
        while self._shots and (wait or self._shots[0][1].ready()):
            step, transfer, meta = self._shots.popleft()
            try:
                self.writer.snapshot(step, transfer.result(), meta)
            except Exception as error:  # a disk may have room for rows and none for a thousand samples
                self._shots.clear()
                self._lost(error)

    def forget(self) -> None:
        """Let go of what is on its way."""
        self._columns.clear()
        self._shots.clear()
