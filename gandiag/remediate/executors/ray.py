"""Trials on a Ray cluster. What crosses machines is a trial's JSON one way and an outcome's fields back.

The run directories must lie where the workers and this machine both see them (a shared file system). Each
worker runs its trial as the local executor does, so stopping early needs no connection between the two.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from gandiag.errors import MissingExtra
from gandiag.remediate.executors import Listener, Outcome
from gandiag.remediate.executors.local import LocalExecutor
from gandiag.remediate.trials import Trial


def make() -> RayExecutor:
    """An executor on the cluster that `RAY_ADDRESS` names, or on a local one that is started for it."""
    try:
        return RayExecutor(importlib.import_module("ray"))
    except ImportError:
        raise MissingExtra(
            "--executor ray needs Ray, which is not installed: pip install 'gandiag[ray]' "
            "(or leave the option away: the trials then run on this machine)"
        ) from None


def run_one(text: str) -> tuple[str, int, str]:
    """On a worker: run the trial with this JSON; returns the outcome's status, iterations and reason."""
    (outcome,) = LocalExecutor(workers=1).run([Trial.from_json(text)], listener=Listener())
    return outcome.status, outcome.iterations, outcome.because


class RayExecutor:
    """One Ray task a trial.

    Args:
        ray: the imported module; handed in so that importing gandiag never imports it.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def run(self, trials: Sequence[Trial], *, listener: Listener) -> list[Outcome]:
        """Submit all trials at once; Ray schedules them. Interrupting cancels them."""
        if not self._ray.is_initialized():
            self._ray.init(log_to_driver=False)
        # A training holds memory of its device: one that died with its node is not silently started again.
        submit = self._ray.remote(max_retries=0)(run_one).remote
        waiting = {}
        for index, trial in enumerate(trials):
            waiting[submit(trial.to_json())] = index
            listener.started(trial)
        outcomes: dict[int, Outcome] = {}
        try:
            while waiting:
                (done, *_), _ = self._ray.wait(list(waiting), num_returns=1)
                index = waiting.pop(done)
                outcomes[index] = Outcome(trials[index], *self._ray.get(done))
                listener.ended(outcomes[index])
        finally:
            for task in waiting:
                self._ray.cancel(task)  # arrives as KeyboardInterrupt in the worker, which ends its processes
        return [outcomes[index] for index in range(len(trials))]
