"""The Ray executor against a stand-in for Ray: what is submitted, and what comes back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from gandiag.errors import MissingExtra, UnknownName
from gandiag.remediate.executors import Listener, executor
from gandiag.remediate.executors import ray as module
from gandiag.remediate.executors.ray import RayExecutor
from gandiag.remediate.trials import Trial


class FakeRay:
    """Runs tasks when they are waited for, and checks that only text goes in and plain values come out."""

    def __init__(self) -> None:
        self.cancelled: list[Any] = []
        self.started = False

    def is_initialized(self) -> bool:
        return self.started

    def init(self, **options: Any) -> None:
        self.started = True

    def remote(self, **options: Any) -> Callable[[Callable[..., Any]], Any]:
        assert options == {"max_retries": 0}

        class Task:
            def __init__(self, function: Callable[..., Any]) -> None:
                self.function = function

            def remote(self, text: str) -> tuple[Callable[..., Any], str]:
                assert isinstance(text, str)
                return self.function, text

        return Task

    def wait(self, tasks: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return tasks[-1:], tasks[:-1]  # the last one first: order must not matter

    def get(self, task: Any) -> Any:
        function, text = task
        return function(text)

    def cancel(self, task: Any) -> None:
        self.cancelled.append(task)


def trials(count: int) -> list[Trial]:
    return [
        Trial(name=f"a-seed{i}", command=("x",), cwd="/", run_dir=f"/r/{i}", seed_offset=i, max_iterations=10)
        for i in range(count)
    ]


def test_without_ray_the_message_holds_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An absent extra is not an ImportError from deep inside."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'gandiag\[ray\]'"):
        executor("ray")


def test_an_unknown_executor_is_named() -> None:
    """With the known ones."""
    with pytest.raises(UnknownName, match="local, ray"):
        executor("slurm")


def test_outcomes_come_back_in_the_order_of_the_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever ends first; only JSON and plain values cross."""
    monkeypatch.setattr(module, "run_one", lambda text: ("finished", Trial.from_json(text).seed_offset, ""))
    ray = FakeRay()
    outcomes = RayExecutor(ray).run(trials(3), listener=Listener())
    assert [outcome.iterations for outcome in outcomes] == [0, 1, 2]
    assert ray.started


def test_an_interrupt_cancels_what_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing trains on after Ctrl-C."""

    def interrupted(text: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_one", interrupted)
    ray = FakeRay()
    with pytest.raises(KeyboardInterrupt):
        RayExecutor(ray).run(trials(3), listener=Listener())
    assert len(ray.cancelled) == 2
