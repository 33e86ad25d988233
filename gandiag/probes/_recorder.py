"""Runs the probes and writes what they measured."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from gandiag.errors import RunDirError
from gandiag.loop import Call, Observer, Step
from gandiag.loop.observer import Listener
from gandiag.probes._columns import Columns
from gandiag.probes._snapshots import Snapshots
from gandiag.probes._transfer import Transfer
from gandiag.probes.base import PROBES, Probe, Row
from gandiag.rundir import RunWriter

FLUSH_ROWS, FLUSH_SECONDS = 100, 5.0


class Recorder(Listener):
    """Records one loop into a run directory.

    Args:
        observer: the loop.
        writer: makes the writer when there is something to write; processes that import torch and never
            train (launchers, data workers) must leave nothing behind.
        snapshots: keeps samples.
        facts: called at each flush; what run.json shall say now.
        failed: called with a text when something is switched off.
        most: stop the script after so many iterations (remediation's budget), or None.
        strict: raise a failing probe's error.
    """

    def __init__(
        self,
        observer: Observer,
        writer: Callable[[], RunWriter],
        snapshots: Snapshots,
        *,
        facts: Callable[[], dict[str, Any]],
        failed: Callable[[str], None],
        most: int | None = None,
        strict: bool = False,
    ) -> None:
        self.writer: RunWriter | None = None
        self.blind_spots: list[str] = []
        self._observer = observer
        self._make_writer = writer
        self._snapshots = snapshots
        self._facts = facts
        self._failed = failed
        self._most = most
        self._strict = strict
        self._probes: list[Probe] = [cls() for cls in PROBES]
        self._began = time.monotonic()
        self._row = Row()
        self._rows: list[Row] = []
        self._steps = {"d": 0.0, "g": 0.0}
        self._flushed = time.monotonic()
        self._columns: deque[Columns] = deque()
        self._shots: deque[tuple[int, Transfer, dict[str, str]]] = deque()
        self._features: Tensor | None = None
        self._logged: dict[str, Any] = {}
        self._offset = 0
        self._closed = False
        self._off = False

    def log(self, scalars: dict[str, Any]) -> None:
        """Columns of the user's own, written with the current iteration."""
        self._logged.update(scalars)

    # -- listening ----------------------------------------------------------------------------------------

    def call_begins(self, call: Call, role: str) -> Callable[[], None] | None:
        """Watch for D's penultimate features during this call, if a probe wants them now."""
        self._features = None
        if role != "d" or self._off or not call.grad_enabled:
            return None
        if not any(p.wants_features(self._observer.iteration + 1) for p in self._probes):
            return None
        last: list[Tensor] = []

        def note(module: nn.Module, args: Any) -> None:
            weight = module._parameters.get("weight")
            if weight is not None and weight.ndim >= 2 and args and isinstance(args[0], Tensor):
                last[:] = [args[0]]

        # A global hook for the time of one call: a hook on the module itself would travel with copies of it.
        handle = register_module_forward_pre_hook(note)

        def end() -> None:
            handle.remove()
            if last and last[0].ndim >= 2 and last[0].is_floating_point():
                self._features = last[0].detach().flatten(1)

        return end

    def call_ended(self, call: Call, role: str) -> None:
        """Hand the call to the probes."""
        if not self._off and self._features is not None:
            features, self._features = self._features, None
            for probe in self._probes:
                self._try(probe, probe.call_ended, call, role, features, self._row)

    def before_step(self, step: Step) -> None:
        """Open the run directory at the first step that has a role, and measure."""
        if self._off:
            return
        if self.writer is None:
            self._open()
        for probe in list(self._probes):
            self._try(probe, probe.before_step, step, self._row, self._observer)
        if step.role != "g":
            self._snapshots.keep(step)

    def after_step(self, step: Step) -> None:
        """Measure what the step did."""
        if self._off:
            return
        for probe in list(self._probes):
            self._try(probe, probe.after_step, step, self._row, self._observer)
        for role in ("d", "g") if step.role == "both" else (step.role,):
            self._steps[role] += 1

    def iteration_ended(self, iteration: int) -> None:
        """Close the row; flush and make a snapshot where due; end the script where its budget is spent."""
        if not self._off:
            row, self._row = self._row, Row()
            row.iteration = iteration + self._offset
            row.time = time.monotonic() - self._began
            row.scalars["d_steps"], row.scalars["g_steps"] = self._steps["d"], self._steps["g"]
            self._steps = {"d": 0.0, "g": 0.0}
            if self._logged:
                row.scalars.update({name: _number(value) for name, value in self._logged.items()})
                self._logged = {}
            self._rows.append(row)
            if len(self._rows) >= FLUSH_ROWS or time.monotonic() - self._flushed > FLUSH_SECONDS:
                self._write(self._flush)
            if self._snapshots.due(iteration):
                self._write(self._snap, iteration)
        if self._most is not None and iteration >= self._most:
            self.close("finished")
            raise SystemExit(0)

    def close(self, status: str = "finished") -> None:
        """Write what is left. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if self.writer is None:
            return
        if not self._off:
            self._write(self._finish, status)
        if not self._off:
            self._write(self.writer.close, status)

    # -- writing ------------------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self.writer = self._make_writer()
            # A resumed run continues the axis where the earlier attempt ended.
            self._offset = self.writer.last_iteration
        except (RunDirError, OSError) as error:
            self._switch_off(error)

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        rows, self._rows = self._rows, []
        if rows:
            self._columns.append(Columns(rows, self._reduce))
        self._drain(wait=False)
        assert self.writer is not None
        self.writer.update_info(**self._facts())

    def _snap(self, iteration: int) -> None:
        transfer, meta = self._snapshots.take(iteration)
        self._shots.append((iteration + self._offset, transfer, meta))
        self._drain(wait=False)

    def _finish(self, status: str) -> None:
        if self._snapshots.worth_a_last_one(self._observer.iteration):
            self._snap(self._observer.iteration)
        self._flush()
        self._drain(wait=True)

    def _drain(self, *, wait: bool) -> None:
        assert self.writer is not None
        while self._columns and (wait or self._columns[0].ready()):
            self.writer.append(self._columns.popleft().result())
        while self._shots and (wait or self._shots[0][1].ready()):
            step, transfer, meta = self._shots.popleft()
            self.writer.snapshot(step, transfer.result(), meta)

    def _reduce(self, prefix: str, batch: Tensor) -> dict[str, Tensor]:
        columns: dict[str, Tensor] = {}
        for probe in self._probes:
            columns.update(probe.reduce(prefix, batch))
        return columns

    # -- safety -------------------------------------------------------------------------------------------

    def _write(self, action: Callable[..., None], *args: Any) -> None:
        """A full disk, a vanished directory: recording ends, training goes on."""
        try:
            with torch.no_grad():
                action(*args)
        except (RunDirError, OSError) as error:
            self._switch_off(error)

    def _switch_off(self, error: Exception) -> None:
        self._off = True
        if self._strict:
            raise error
        self._failed(f"recording stopped, training goes on: {error}")

    def _try(self, probe: Probe, method: Callable[..., None], *args: Any) -> None:
        """A failing probe is switched off, alone, and the run directory says so."""
        try:
            with torch.no_grad():
                method(*args)
        except Exception as error:
            if self._strict:
                raise
            self._probes = [p for p in self._probes if p is not probe]
            text = f"probe {probe.name} failed and was switched off: {type(error).__name__}: {error}"
            self.blind_spots.append(text)
            if self.writer is not None:
                self.writer.event("probe-failed", step=self._observer.iteration, probe=probe.name, error=str(error))


def _number(value: Any) -> Tensor | float:
    return value.detach() if isinstance(value, Tensor) else float(value)
