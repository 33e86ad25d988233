"""Who runs trials. An executor takes trials (data) and answers with outcomes (data), in the same order."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gandiag.errors import UnknownName
from gandiag.remediate.trials import Trial

NAMES = ("local", "ray")


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        trial: the trial.
        status: `finished`; `stopped` early by a rule; `failed`: the command ended with an error.
        iterations: how many were recorded.
        because: why it was stopped, or the end of what the command wrote to stderr; also set for a training that
            ended by itself before its time.
    """

    trial: Trial
    status: Literal["finished", "stopped", "failed"]
    iterations: int
    because: str = ""


class Listener:
    """Told of what happens while it happens; this one keeps silent."""

    def say(self, text: str) -> None:
        """Something for a person to read."""

    def started(self, trial: Trial) -> None:
        """A trial's process has been started."""

    def progressed(self, trial: Trial, iterations: int) -> None:
        """A running trial has recorded this many iterations so far."""

    def ended(self, outcome: Outcome) -> None:
        """A trial is over."""


class Executor(Protocol):
    """Runs trials. `run` must leave no process behind, however it ends."""

    def run(self, trials: Sequence[Trial], *, listener: Listener) -> list[Outcome]:
        """Run all trials and return their outcomes in the order of the trials."""
        ...


def executor(name: str) -> Executor:
    """The executor with this name, with its defaults.

    Raises:
        UnknownName: if there is none.
        MissingExtra: if what it needs is not installed.
    """
    if name not in NAMES:
        raise UnknownName.of("executor", name, NAMES)
    module = importlib.import_module(f"gandiag.remediate.executors.{name}")
    made: Executor = module.make()
    return made
