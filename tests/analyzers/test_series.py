"""The small tools that rules share."""

import numpy as np
import pytest

from gandiag.analyzers._series import bin_medians, change_point, last_streak, longest_streak, robust_z, turning_points


def test_streaks() -> None:
    """Where the final run of True begins; where the longest one lies."""
    mask = np.array([True, True, True, False, True, True])
    assert last_streak(mask) == 4
    assert last_streak(~mask) is None
    assert last_streak(np.ones(3, dtype=bool)) == 0
    assert longest_streak(mask) == (0, 3)
    assert longest_streak(np.zeros(3, dtype=bool)) == (0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_a_change_of_level_is_placed_within_a_few_values(seed: int) -> None:
    """A jump by two standard deviations at 60 of 100, and a spike that must not attract it."""
    values = np.random.default_rng(seed).standard_normal(100)
    values[60:] += 2
    values[20] = 1000
    cut, p = change_point(values)
    assert abs(cut - 60) <= 4
    assert p < 1e-4


def test_no_change_has_no_small_p() -> None:
    """Noise and a constant."""
    assert change_point(np.random.default_rng(0).standard_normal(100))[1] > 0.05
    assert change_point(np.ones(50))[1] > 0.5
    assert change_point(np.ones(2)) == (0, 1.0)


def test_robust_z_is_not_moved_by_outliers_in_the_history() -> None:
    """A tenth of the history at a thousand: the median and its deviations stay."""
    history = np.random.default_rng(0).standard_normal(200)
    history[:20] = 1000
    assert robust_z(np.array([10.0]), history=history)[0] > 6


def test_bins_keep_the_level_and_the_first_step() -> None:
    """Medians of equal counts; a spike is gone."""
    values = np.r_[np.ones(50), np.full(50, 3.0)]
    values[10] = 1e9
    steps, level = bin_medians(np.arange(100), values, bins=10)
    assert level.tolist() == [1] * 5 + [3] * 5
    assert steps[5] == 50
    assert len(bin_medians(np.arange(3), values[:3], bins=10)[0]) == 3


def test_turning_points_of_a_wave_and_of_a_ramp() -> None:
    """Two a cycle, none where nothing turns."""
    wave = np.sin(np.linspace(0, 6 * np.pi, 200))
    assert len(turning_points(wave, swing=0.5)) == 6
    assert turning_points(np.linspace(0, 9, 50), swing=0.5) == []
    assert turning_points(np.zeros(2), swing=0.5) == []
