"""How often `verify` is right, measured."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gandiag.errors import UsageError
from gandiag.remediate.judge import Ratio, RunScore
from gandiag.remediate.verify import verify


def scores(values: np.ndarray, verdict: str = "collapsed") -> list[RunScore]:
    """Runs with these scores, each known to about 0.01 from its own samples."""
    return [RunScore(verdict, float(v), Ratio(float(v), 0.01), Ratio(float(v), 0.01)) for v in values]


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("noise", [0.02, 0.1, 0.25])
def test_identical_arms_are_rarely_called_better(seeds: int, noise: float) -> None:
    """Two arms from one distribution: verified in at most 5 % of remediations, for small and large seed noise.

    A percentile bootstrap over two pairs calls one in four of these better.
    """
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(600):
        control, arm = np.clip(rng.normal(0.5, noise, (2, seeds)), 0.01, 1)
        wrong += verify(control=scores(control), arm=scores(arm), draws=500).verified
    assert wrong / 600 <= 0.05


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """A true difference of 0.2 lies in the 95 % interval in 92 to 100 % of remediations (the noise of the samples
    is in the runs' scores too, so the interval is a little too wide)."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(500):
        found = verify(control=scores(rng.normal(0.5, 0.05, 2)), arm=scores(rng.normal(0.7, 0.05, 2)), draws=500)
        held += found.low <= 0.2 <= found.high
    assert 0.92 <= held / 500 <= 1.0


def test_a_real_improvement_is_found() -> None:
    """From 0.55 +- 0.05 to 0.95 +- 0.02, with two seeds: found nine times in ten."""
    rng = np.random.default_rng(2)
    found = [
        verify(control=scores(rng.normal(0.55, 0.05, 2)), arm=scores(rng.normal(0.95, 0.02, 2)), draws=500).verified
        for _ in range(200)
    ]
    assert np.mean(found) >= 0.9


def test_a_worse_verdict_is_no_victory() -> None:
    """Higher scores from a training whose diagnosis got worse do not verify, and the reason says so."""
    control = scores(np.array([0.5, 0.51]), "at-risk")
    arm = scores(np.array([0.9, 0.91]), "at-risk")
    assert verify(control=control, arm=arm).verified
    arm[1] = dataclasses.replace(arm[1], verdict="unstable")
    found = verify(control=control, arm=arm)
    assert found.low > 0
    assert not found.verified
    assert found.promising
    assert "unstable" in found.because


def test_the_same_runs_give_the_same_answer() -> None:
    """The draws are seeded."""
    control, arm = scores(np.array([0.4, 0.5])), scores(np.array([0.6, 0.7]))
    assert verify(control=control, arm=arm) == verify(control=control, arm=arm)
    assert verify(control=control, arm=arm).pairs == pytest.approx((0.2, 0.2))


def test_seeds_that_change_nothing_are_no_evidence() -> None:
    """A script that ignores its seed gives one training twice: no spread, and no proof of anything."""
    control = [dataclasses.replace(run, metrics={"frechet": 0.123}) for run in scores(np.array([0.5, 0.5]))]
    found = verify(control=control, arm=scores(np.array([0.9, 0.9])))
    assert not found.verified
    assert "the same on every seed" in found.because


def test_one_seed_is_refused() -> None:
    """From one pair nobody can tell a cure from luck."""
    with pytest.raises(UsageError, match="--seeds 2"):
        verify(control=scores(np.array([0.5])), arm=scores(np.array([0.9])))
