"""Trials on this machine: a small pool of processes, watched through the run directories that they write."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from gandiag.remediate.early_stop import iterations_of, reason_to_stop
from gandiag.remediate.executors import Listener, Outcome
from gandiag.remediate.trials import Trial

#: A trial counts as complete at this share of its iterations even if the script then dies, say while saving.
COMPLETE = 0.95
#: How much of a failed command's stderr is repeated in a message.
TAIL_LINES, TAIL_CHARACTERS = 12, 2000


def make() -> LocalExecutor:
    """A pool for this machine: two workers where it has two cores."""
    return LocalExecutor()


@dataclass
class _Running:
    trial: Trial
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    next_look: float
    stopped_because: str = ""


@dataclass
class LocalExecutor:
    """A pool of processes.

    Args:
        workers: how many trials run at a time; default: 2, or 1 on a single core.
        poll: seconds between two looks whether a process has ended.
        look: seconds between two looks into the run directory of a running trial.
        grace: seconds that a process has to end itself after SIGTERM, before SIGKILL.
    """

    workers: int = field(default_factory=lambda: min(os.cpu_count() or 1, 2))
    poll: float = 0.2
    look: float = 3.0
    grace: float = 5.0

    def run(self, trials: Sequence[Trial], *, listener: Listener) -> list[Outcome]:
        """Run all trials, `workers` at a time, in the order given. However this ends, no process is left behind."""
        outcomes: dict[int, Outcome] = {}
        running: dict[int, _Running] = {}
        waiting = list(enumerate(trials))
        with _terminate_as_interrupt():
            try:
                while waiting or running:
                    while waiting and len(running) < self.workers:
                        index, trial = waiting.pop(0)
                        running[index] = self._start(trial)
                        listener.started(trial)
                    time.sleep(self.poll)
                    for index, one in list(running.items()):
                        if one.process.poll() is None:
                            self._look(one, listener)
                            continue
                        del running[index]
                        outcomes[index] = self._finish(one)
                        listener.ended(outcomes[index])
            finally:
                for one in running.values():
                    _end(one.process, self.grace)
                    one.log.close()
        return [outcomes[index] for index in range(len(trials))]

    def _start(self, trial: Trial) -> _Running:
        folder = Path(trial.run_dir)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside the run directory, not in it: that one is for the recording to create.
        log = stderr_file(trial).open("wb")
        with folder.with_name(folder.name + ".stdout.txt").open("wb") as printed:
            process = subprocess.Popen(
                trial.argv(),
                cwd=trial.cwd,
                env={**os.environ, **self._threads(), **trial.environment},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=log,
                # A session of its own: the whole family can be ended at once, data loaders included, and
                # Ctrl-C reaches us first, who then end it in order.
                start_new_session=True,
            )
        return _Running(trial, process, log, next_look=time.monotonic() + self.look)

    def _threads(self) -> dict[str, str]:
        """Share the cores: `workers` trainings that each take all of them are slower than one after the other."""
        if "OMP_NUM_THREADS" in os.environ:
            return {}
        return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // self.workers))}

    def _look(self, one: _Running, listener: Listener) -> None:
        if time.monotonic() < one.next_look:
            return
        one.next_look = time.monotonic() + self.look
        listener.progressed(one.trial, iterations_of(one.trial.run_dir))
        if one.trial.stop_early and not one.stopped_because:
            one.stopped_because = reason_to_stop(one.trial) or ""
            if one.stopped_because:
                _end(one.process, self.grace)

    def _finish(self, one: _Running) -> Outcome:
        # Its session may outlive the script: data loaders, a launcher's ranks.
        _end(one.process, grace=0.0)
        one.log.close()
        iterations = iterations_of(one.trial.run_dir)
        if one.stopped_because:
            return Outcome(one.trial, "stopped", iterations, one.stopped_because)
        complete = iterations >= COMPLETE * one.trial.max_iterations
        if iterations == 0 or (one.process.returncode != 0 and not complete):
            return Outcome(one.trial, "failed", iterations, _why_failed(one))
        short = f"the script ended by itself after {iterations:,} of {one.trial.max_iterations:,} iterations"
        return Outcome(one.trial, "finished", iterations, "" if complete else short)


def stderr_file(trial: Trial) -> Path:
    """Where a trial's stderr is kept."""
    folder = Path(trial.run_dir)
    return folder.with_name(folder.name + ".stderr.txt")


def _why_failed(one: _Running) -> str:
    with stderr_file(one.trial).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_CHARACTERS))
        tail = file.read().decode(errors="replace").strip().splitlines()[-TAIL_LINES:]
    # `gandiag run` has the last word, in general terms; what the script or a technique said before it is the reason.
    own = [line for line in tail if not line.startswith(("gandiag: recording to ", "gandiag: the command "))]
    code = one.process.returncode
    ended = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return "\n".join([f"the command {ended}", *(own or tail)])


def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    """SIGTERM to the process and everything it started, then SIGKILL to what is left of them."""
    if process.poll() is None and grace > 0:
        _signal_group(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):  # it had its time: SIGKILL follows
            process.wait(timeout=grace)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # Either error: the whole group is gone already (macOS says EPERM where only zombies are left of it).
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that the children end with us; only the main thread may install handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
