"""Runs the probes, in the rounds in which they are to measure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gandiag.errors import GandiagError, UsageError
from gandiag.loop import Call, Observer, Step
from gandiag.loop.listener import Listener
from gandiag.loop.pattern import Pattern
from gandiag.loop.units import is_compiled
from gandiag.probes._outbox import Outbox
from gandiag.probes._penultimate import watch_penultimate
from gandiag.probes._snapshots import Snapshots
from gandiag.probes.base import PROBES, Probe, Row
from gandiag.probes.losses import total
from gandiag.rundir import RunWriter

#: Rows and seconds after which what has been measured is written; the second number of rows is for a fast loop that
#: has done as many.
FLUSH_ROWS, FLUSH_SECONDS = (100, 1000), 5.0
#: Where an iteration takes less than `FAST` seconds, only the first `ALL` are measured in full; after them each 20th up
#: to 2,000, then each 100th: of the others there are the losses and the counts. Measuring costs half a millisecond.
FAST, ALL = 0.01, 100
#: What a probe may answer to, and columns that are gandiag's own.
_EVENTS = ("wants_features", "call_ended", "clipped", "before_step", "after_step", "reduce", "derive")
_NONE: dict[Any, Any] = {}
_OWN = frozenset({"iteration", "time", "d_steps", "g_steps"})


class Recorder(Listener):
    """Records one loop into a run directory.

    Args:
        observer: the loop.
        writer: makes the writer when there is something to write; processes that import torch and never
            train (launchers, data workers) must leave nothing behind.
        snapshots: keeps samples.
        facts: called at each flush; what run.json shall say now.
        failed: called with a text when recording ends before the training does.
        most: stop the script after so many iterations (remediation's budget), or None.
        strict: raise gandiag's own errors.

    Attributes:
        writer: None until `open`.
        blind_spots: what has been switched off, in words.
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
        self._began = self._flushed = self._paced = time.monotonic()
        self._fast = False
        self._row = Row()
        self._rows: list[Row] = []
        self._steps = {"d": 0.0, "g": 0.0}
        self._outbox: Outbox | None = None
        self._features: Tensor | None = None
        self._logged: dict[str, Tensor | float] = {}
        self._offset = 0
        self._closed = False
        self._off = False
        snapshots.failed = self._blind
        self._listening_to_calls = False
        self._listen([cls() for cls in PROBES])
        self._listen_to_calls(True)

    def open(self) -> None:
        """Make the run directory; a resumed run continues the axis where the earlier attempt ended.

        Raises:
            RunDirError: it cannot be written or holds something else.
        """
        self.writer = self._make_writer()
        self._outbox = Outbox(
            self.writer,
            reduce=self._reduce,
            derive=lambda columns: self._ask("derive", columns),
            lost=self._snapshots.give_up,
        )
        self._offset = self.writer.last_iteration

    def log(self, scalars: dict[str, Any]) -> None:
        """Columns of the user's own, written with the current iteration.

        Raises:
            UsageError: a value is not one number, or a name is taken.
        """
        for name, value in scalars.items():
            if name in _OWN:
                raise UsageError(f"log({name}=...): gandiag has a column {name!r} of its own; choose another name")
            if isinstance(value, Tensor) and value.numel() != 1:
                raise UsageError(f"log({name}=...) takes one number, got a tensor of shape {tuple(value.shape)}")
            # A copy: a running total is the script's own tensor, which it adds to.
            self._logged[name] = value.detach().reshape(()).clone() if isinstance(value, Tensor) else float(value)

    # -- listening ----------------------------------------------------------------------------------------

    def call_begins(self, call: Call, role: str) -> Callable[[], None] | None:
        """Watch for D's penultimate features during this call, if a probe wants them now."""
        self._features = None
        if role != "d" or self._off or not call.grad_enabled or is_compiled(call.unit):
            return None  # torch.compile warns of global hooks, and does not call those made after it

        def keep(features: Tensor) -> None:
            self._features = features

        return watch_penultimate(call.unit, keep)

    def call_ended(self, call: Call, role: str) -> None:
        """Hand the call to the probes."""
        if not self._off and self._features is not None:
            features, self._features = self._features, None
            self._ask("call_ended", call, role, features, self._row)

    def before_step(self, step: Step) -> None:
        """Open the run directory at the first step that has a role, and measure.

        Where a budget is spent, the script ends when it sets out for one more iteration, not when it has done the
        last: a script whose own length is the budget then says and saves what it does at its end.
        """
        if self._most is not None and step.role != "d" and self._observer.iteration >= self._most:
            self.close("finished")
            raise SystemExit(0)
        if self.writer is None and not self._off:
            self._write(self.open)
        if self._off:
            return
        with torch.no_grad():
            self._ask("before_step", step, self._row, self._observer)
            if step.role != "g":
                self._snapshots.keep(step)

    def after_step(self, step: Step) -> None:
        """Measure what the step did."""
        if self._off:
            return
        self._ask("after_step", step, self._row, self._observer)
        if step.role == "both":
            self._steps["d"] += 1
            self._steps["g"] += 1
        else:
            self._steps[step.role] += 1

    def clipped(self, role: str, norm: Tensor) -> None:
        """Note the norm before."""
        if not self._off:
            self._ask("clipped", role, norm, self._row)

    def iteration_ended(self, iteration: int) -> None:
        """Close the row; make a snapshot where due."""
        if self._off:
            return
        row, self._row = self._row, Row()
        row.scalars["d_steps"], row.scalars["g_steps"] = self._steps["d"], self._steps["g"]
        self._steps["d"] = self._steps["g"] = 0.0
        self._close_row(row, iteration)
        self._listen_to_calls(any(self._ask("wants_features", iteration + 1)))

    def wants_round(self, iteration: int) -> bool:
        """All of the first ones, and of a slow loop; else now and then."""
        if iteration <= ALL or not self._fast or iteration % (20 if iteration <= 2000 else 100) == 1:
            return not self._off
        return self._most is not None and iteration >= self._most and not self._off

    def round_followed(self, iteration: int, pattern: Pattern) -> None:
        """A row with the losses and the counts, and the samples for the next snapshot."""
        if self._off:
            return
        scalars = _sums(pattern)
        scalars["d_steps"], scalars["g_steps"] = pattern.steps["d"], pattern.steps["g"]
        self._snapshots.keep_followed(pattern.seen)
        self._close_row(Row(scalars=scalars, vectors=_NONE, batches=_NONE), iteration)
        if self.wants_round(iteration + 1):
            self._listen_to_calls(any(self._ask("wants_features", iteration + 1)))

    def round_resumed(self, pattern: Pattern) -> None:
        """What the steps that were followed would have left in this row."""
        if self._off:
            return
        for role, count in pattern.done.items():
            self._steps[role] += count
        self._row.scalars.update(_sums(pattern))
        self._snapshots.keep_followed(pattern.seen)

    def _close_row(self, row: Row, iteration: int) -> None:
        now = time.monotonic()
        row.iteration = iteration + self._offset
        row.time = now - self._began
        if self._logged:
            row.scalars.update(self._logged)
            self._logged = {}
        self._rows.append(row)
        most = FLUSH_ROWS[self._fast and iteration > FLUSH_ROWS[1]]
        if len(self._rows) >= most or now - self._flushed > FLUSH_SECONDS:
            self._write(self._flush)
        elif self._outbox is not None and self._outbox.waiting:
            self._write(self._drain)
        if self._snapshots.due(iteration):
            self._write(self._snap, iteration)
        if iteration % ALL == 0:
            self._fast = now - self._paced < FAST * ALL and not _together()
            self._paced = now

    def _listen_to_calls(self, wanted: bool) -> None:
        """Hear of each call only in the iterations in which a probe wants features: hearing of it costs."""
        if wanted != self._listening_to_calls:
            self._listening_to_calls = wanted
            if wanted:
                self._observer.callers.append(self)
            else:
                self._observer.callers.remove(self)

    def close(self, status: str = "finished") -> None:
        """Write what is left. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if self.writer is None:
            return
        if not self._off:
            self._write(self._finish)
        try:  # also after a failure, as the disk may have room again: run.json is then true
            self.writer.update_info(**self._facts())
            self.writer.close(status)
        except Exception as error:
            if not self._off:  # else it has been said
                self._switch_off(error)

    # -- writing ------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        rows, self._rows = self._rows, []
        assert self._outbox is not None
        if rows:
            self._outbox.rows(rows)
        self._outbox.drain(wait=False)
        self._outbox.writer.update_info(**self._facts())

    def _drain(self) -> None:
        assert self._outbox is not None
        self._outbox.drain(wait=False)

    def _snap(self, iteration: int) -> None:
        assert self._outbox is not None
        with self._observer.quiet():  # the labels may come from a network
            taken = self._snapshots.take(iteration)
        if taken is not None:
            self._outbox.snapshot(iteration + self._offset, *taken)
        self._outbox.drain(wait=False)

    def _finish(self) -> None:
        assert self._outbox is not None
        if self._snapshots.worth_a_last_one():
            self._snap(self._observer.iteration)
        self._flush()
        self._outbox.drain(wait=True)

    def _reduce(self, prefix: str, batch: Tensor) -> dict[str, Tensor]:
        columns: dict[str, Tensor] = {}
        for found in self._ask("reduce", prefix, batch):
            columns.update(found)
        return columns

    # -- safety -------------------------------------------------------------------------------------------

    def _listen(self, probes: list[Probe]) -> None:
        """Note who answers to what: a call that does nothing costs as much as a small kernel."""
        self._probes = probes
        self._listening = {
            event: [(p, getattr(p, event)) for p in probes if getattr(type(p), event) is not getattr(Probe, event)]
            for event in _EVENTS
        }

    def _ask(self, event: str, *args: Any) -> list[Any]:
        """What the probes answer. One that fails is switched off, alone, and the run directory says so."""
        answers = []
        for probe, method in self._listening[event]:
            try:
                answers.append(method(*args))
            except Exception as error:
                self._listen([p for p in self._probes if p is not probe])
                self._blind(f"probe {probe.name} failed and was switched off", error)
        return answers

    def _blind(self, text: str, error: Exception | None = None) -> None:
        """Something is no longer recorded, the rest is."""
        if self._strict and error is not None:
            raise error
        self.blind_spots.append(text if error is None else f"{text}: {type(error).__name__}: {error}")
        if self.writer is not None:
            self._write(self._note, self.blind_spots[-1])

    def _note(self, text: str) -> None:
        assert self.writer is not None
        self.writer.event("blind-spot", step=self._observer.iteration + self._offset, text=text)

    def _write(self, action: Callable[..., None], *args: Any) -> None:
        """A full disk, a vanished directory, an error of ours: recording ends, training goes on."""
        try:
            with torch.no_grad():
                action(*args)
        except Exception as error:
            self._switch_off(error)

    def _switch_off(self, error: Exception) -> None:
        self._off = True
        self._rows, self._row = [], Row()
        if self._outbox is not None:
            self._outbox.forget()
        self._snapshots.forget()
        if self._strict:
            raise error
        kind = "" if isinstance(error, GandiagError) else f"{type(error).__name__}: "
        self._failed(f"recording stopped, training goes on: {kind}{error}")


def _together() -> bool:
    """Whether several ranks train: they must measure the same rounds, and each has a clock of its own."""
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _sums(pattern: Pattern) -> dict[str, Tensor | float]:
    """The losses of a round that is followed, as `Losses` has them."""
    return {"loss/" + role: total(losses) for role, losses in pattern.losses.items() if losses}
