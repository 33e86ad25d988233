"""The papers' mode counts, against the definition, the demos' own count, and a perfect sampler."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandiag.demo.data import GRID_STD, RING_STD, count_modes, grid_modes, ring_modes
from gandiag.errors import ShapeError, UsageError
from gandiag.metrics._classic import classic_modes


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 40), k=st.integers(1, 6))
def test_counts_equal_the_definition(seed, n, k):
    """A sample is of high quality within three standard deviations of its nearest centre; one captures a mode."""
    rng = np.random.default_rng(seed)
    centres, fake, stds = rng.normal(size=(k, 2)), rng.normal(size=(n, 2)), rng.uniform(0.05, 0.4, size=k)
    good, hit = [0] * k, set()
    for row in fake:
        away = [np.linalg.norm(row - centre) for centre in centres]
        nearest = int(np.argmin(away))
        hit.add(nearest)
        good[nearest] += away[nearest] < 3 * stds[nearest]
    found = classic_modes(fake, centres=centres, std=torch.from_numpy(stds))
    assert (found.counts.tolist(), found.captured, found.hit) == (good, sum(count > 0 for count in good), len(hit))
    assert found.high_quality == pytest.approx(sum(good) / n)


@pytest.mark.parametrize(("centres", "std"), [(ring_modes(), RING_STD), (grid_modes(), GRID_STD)])
def test_it_agrees_with_the_demos(centres, std):
    """The demos, which know nothing of the library, count the same modes and the same share of good samples."""
    noise = torch.Generator().manual_seed(0)
    modes = torch.randint(len(centres) - 3, (2500,), generator=noise)
    fake = centres[modes] + 1.5 * std * torch.randn(2500, 2, generator=noise)
    theirs, ours = count_modes(fake, centres, std), classic_modes(fake, centres=centres, std=std)
    assert (ours.captured, ours.of) == (theirs["modes"], theirs["of"]) == (len(centres) - 3, len(centres))
    assert ours.high_quality == pytest.approx(theirs["high_quality"], abs=1e-3)


@pytest.mark.parametrize(("d", "n"), [(2, 60), (10, 100)])
def test_expectations_are_those_of_a_perfect_sampler(d, n):
    """Over 200 draws from 25 modes both counts are on average what is said to be expected."""
    rng = np.random.default_rng(0)
    centres = 50 * rng.normal(size=(25, d))
    draws = [
        classic_modes(centres[rng.integers(0, 25, n)] + 0.1 * rng.normal(size=(n, d)), centres=centres, std=0.1)
        for _ in range(200)
    ]
    assert np.mean([draw.captured for draw in draws]) == pytest.approx(draws[0].expected_captured, rel=0.02)
    assert np.mean([draw.high_quality for draw in draws]) == pytest.approx(draws[0].expected_high_quality, rel=0.03)


def test_in_many_dimensions_three_sigma_measures_nothing_and_that_is_said():
    """Of a perfect sampler's rows in 32 dimensions hardly any is of high quality, as expected."""
    rng = np.random.default_rng(0)
    found = classic_modes(rng.normal(size=(2500, 32)), centres=np.zeros((1, 32)), std=1.0)
    assert found.high_quality < 0.005
    assert found.expected_high_quality == pytest.approx(2e-5, rel=0.5)


def test_arguments_that_do_not_fit_are_refused():
    """Widths must agree, and standard deviations be positive and fit the centres."""
    with pytest.raises(ShapeError, match="same space"):
        classic_modes(np.zeros((3, 2)), centres=np.zeros((3, 3)), std=1.0)
    with pytest.raises(ShapeError, match="one for each of 3"):
        classic_modes(np.zeros((3, 2)), centres=np.zeros((3, 2)), std=torch.ones(2))
    for std, sigmas in [(0.0, 3.0), (1.0, 0.0), (float("nan"), 3.0)]:
        with pytest.raises(UsageError, match="positive"):
            classic_modes(np.zeros((3, 2)), centres=np.zeros((3, 2)), std=std, sigmas=sigmas)
