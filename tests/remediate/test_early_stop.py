"""Which running trainings are ended: only those that cannot come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.runs import write_run

from gandiag.remediate.early_stop import iterations_of, reason_to_stop
from gandiag.remediate.trials import Trial


def trial(run_dir: Path, max_iterations: int = 600) -> Trial:
    return Trial(
        name="a-seed0", command=("x",), cwd="/", run_dir=str(run_dir), seed_offset=0, max_iterations=max_iterations
    )


def running(path: Path, rows: int, **columns: Any) -> Trial:
    """A training of 600 iterations that has recorded `rows` of them."""
    scalars = {name: np.broadcast_to(value, rows).astype(np.float32) for name, value in columns.items()}
    return trial(write_run(path, scalars={"loss/d": np.ones(rows, np.float32), **scalars}, status="running"))


def test_a_training_that_has_not_begun_is_left_alone(tmp_path: Path) -> None:
    """No run directory yet: zero iterations, no reason to stop, no error."""
    assert reason_to_stop(trial(tmp_path / "none")) is None
    assert iterations_of(str(tmp_path / "none")) == 0


@pytest.mark.parametrize(("bad", "stopped"), [(60, True), (20, False)])
def test_gradients_that_stay_nonfinite_end_it(tmp_path: Path, bad: int, stopped: bool) -> None:
    """Fifty iterations in a row end a training; a few skipped steps of mixed precision do not."""
    counts = np.zeros(150)
    counts[-bad:] = 3
    reason = reason_to_stop(running(tmp_path / "run", 150, **{"numerics/nonfinite": counts}))
    assert (reason is not None) == stopped
    assert not stopped or "not finite" in str(reason)


@pytest.mark.parametrize(
    ("rows", "spread", "stopped"), [(250, 0.001, True), (250, 0.5, False), (150, 0.001, False), (250, np.nan, False)]
)
def test_one_point_ends_it_but_not_early(tmp_path: Path, rows: int, spread: float, stopped: bool) -> None:
    """A batch without spread ends a training after its first third; untrained generators look the same."""
    found = reason_to_stop(running(tmp_path / "run", rows, **{"sample/std_ratio": spread}))
    assert (found is not None) == stopped


def test_a_point_that_opened_up_goes_on(tmp_path: Path) -> None:
    """What counts is all of the later half of that third, not one moment in it."""
    spread = np.full(250, 0.001)
    spread[-20:] = 0.5
    assert reason_to_stop(running(tmp_path / "run", 250, **{"sample/std_ratio": spread})) is None
