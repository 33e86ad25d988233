"""The score that arms are compared by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.mixtures import garbage, learning, losing_three, one_point, recorded, shrinking

from gandiag.errors import UsageError
from gandiag.remediate.judge import judge, score_of, worse


def measure(value: float | None, null: float = 0.95) -> dict[str, Any]:
    low, high = (None, None) if value is None else (value - 0.02, value + 0.02)
    return {"value": value, "low": low, "high": high, "null": null, "null_low": 0.9, "null_high": 1.0}


def diagnosis(
    *, coverage: float | None = 0.95, precision: float | None = 0.95, spreads: tuple[float, ...] = (1.0,) * 4
) -> dict[str, Any]:
    """A diagnosis in JSON form; a spread of 0 is a missing mode."""
    modes = [{"state": "ok" if spread else "missing", "spread_ratio": spread or None} for spread in spreads]
    captured = sum(spread > 0 for spread in spreads)
    return {
        "run_dir": "runs/a",
        "verdict": "healthy",
        "modes": {"count_real": len(spreads), "count_captured": captured, "modes": modes},
        "metrics": {"coverage": measure(coverage), "precision": measure(precision)},
    }


def test_a_perfect_generator_scores_one() -> None:
    """As good as held-out real data is 1, whatever the null is."""
    assert score_of(diagnosis()).value == pytest.approx(1.0)
    assert score_of(diagnosis(coverage=0.99, spreads=(1.3,) * 4)).value == pytest.approx(1.0)


def test_each_fault_lowers_it() -> None:
    """Missing modes, shrunken modes, uncovered data and junk each cost something, and missing modes more than junk."""
    missing = score_of(diagnosis(coverage=0.475, spreads=(1.0, 1.0, 0.0, 0.0))).value
    shrunken = score_of(diagnosis(spreads=(0.2,) * 4)).value
    junk = score_of(diagnosis(precision=0.475)).value
    assert missing == pytest.approx(5 * 0.5 / 4.5)
    assert missing < shrunken < 1
    assert missing < junk < 1


def test_it_works_without_modes_and_with_broken_numbers() -> None:
    """No known modes: coverage alone speaks for diversity. A coverage that is no number counts as nothing reached."""
    assert score_of({**diagnosis(), "modes": None}).value == pytest.approx(1.0)
    assert score_of({**diagnosis(coverage=None), "modes": None}).value == 0.0


def test_a_run_without_samples_cannot_be_judged() -> None:
    """The message says what is missing and where to look."""
    with pytest.raises(UsageError, match="no samples of real and fake"):
        score_of({**diagnosis(), "metrics": {}})


def test_draws_are_centred_on_the_score_and_as_wide_as_the_samples_say() -> None:
    """The noise of a run's finite sample comes from the intervals of its own measures."""
    score = score_of(diagnosis(coverage=0.6, precision=0.8, spreads=(1.0, 0.0)))
    draws = score.draws(np.random.default_rng(0), 20_000)
    assert draws.mean() == pytest.approx(score.value, abs=2e-3)
    assert 0.001 < draws.std() < 0.02


def test_verdicts_are_ordered() -> None:
    """healthy < undetermined < at-risk < unstable < collapsed."""
    assert worse("collapsed", than="unstable")
    assert not worse("healthy", than="healthy")


def test_recorded_runs_are_ranked_as_a_person_would(tmp_path: Path) -> None:
    """On recorded runs: healthy above shrunken and missing modes, those above one point and garbage."""
    runs = {each.__name__: each for each in (learning, shrinking, losing_three, one_point, garbage)}
    found = {name: judge(str(recorded(tmp_path / name, fake, steps=(100, 1000)))).value for name, fake in runs.items()}
    assert found["learning"] > 0.85
    assert found["learning"] - 0.15 > found["shrinking"]
    assert found["learning"] - 0.15 > found["losing_three"]
    assert min(found["shrinking"], found["losing_three"]) > max(found["one_point"], found["garbage"])


def test_a_generator_that_broke_scores_nothing(tmp_path: Path) -> None:
    """If the last samples are NaN, the good snapshot before them does not count."""

    def breaking(step: int, rng: np.random.Generator) -> np.ndarray:
        return learning(step, rng) if step < 1000 else np.full((500, 2), np.nan)

    assert judge(str(recorded(tmp_path / "run", breaking))).value == 0.0
