"""The spread of a mode and its interval, and whether fakes visit its middle."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.modes import middle_visits as slow_middle_visits
from references.modes import spread

from gandiag.metrics._within import Spread, from_middle, middle_of, middle_visits


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 30), m=st.integers(1, 30))
def test_both_equal_their_definitions(seed, n, m):
    """The spread is that of the smallest four fifths; visits to the middle are counted row by row."""
    rng = np.random.default_rng(seed)
    real, fake = torch.from_numpy(rng.normal(size=(n, 3))), torch.from_numpy(rng.normal(size=(m, 3)))
    distances = from_middle(real, middle_of(real))
    assert Spread.of(distances).size == pytest.approx(spread(distances))
    found = middle_visits(real=real, fake=fake, distances=distances)
    with np.errstate(divide="ignore", invalid="ignore"):
        slow = slow_middle_visits(real.numpy(), fake.numpy(), distances)
    assert found == pytest.approx(slow) if math.isfinite(slow) else math.isnan(found)


@pytest.mark.parametrize("d", [2, 16, 64])
@pytest.mark.parametrize(("n", "m"), [(15, 15), (200, 60)])
def test_the_interval_holds_the_true_ratio(d, n, m):
    """Over 300 draws the 95 % interval of the ratio of spreads holds the true one in 91 to 99 of 100."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        sides = [torch.from_numpy(scale * rng.normal(size=(size, d))) for scale, size in ((1.0, n), (0.7, m))]
        real, fake = (Spread.of(from_middle(rows, middle_of(rows))) for rows in sides)
        _, low, high = fake.over(real)
        held += low <= 0.7 <= high
    assert 0.91 <= held / 300 <= 0.99


def test_copies_have_no_spread():
    """Rows that are all the same have a spread of 0, surely; no rows have none."""
    still = Spread.of(np.zeros(12))
    assert still == (0, 0)
    assert still.over(Spread.of(np.arange(12.0))) == (0, 0, 0)
    assert math.isnan(Spread.of(np.zeros(0)).size)


def test_wide_fakes_visit_the_middle_and_rows_from_beside_do_not():
    """In 8 dimensions fakes twice too wide visit the middle more often than those of a neighbour do."""
    rng = np.random.default_rng(0)
    real = torch.from_numpy(rng.normal(size=(300, 8)))
    distances = from_middle(real, middle_of(real))
    wide, beside = torch.from_numpy(2 * rng.normal(size=(200, 8))), torch.from_numpy(rng.normal(size=(200, 8)))
    beside[:, 0] += 6
    assert middle_visits(real=real, fake=wide, distances=distances) > 0.25
    assert middle_visits(real=real, fake=beside, distances=distances) < 0.25
    assert middle_visits(real=real, fake=real.clone(), distances=distances) == pytest.approx(1, abs=0.5)
