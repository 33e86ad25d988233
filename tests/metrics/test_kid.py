"""`kid` against three explicit double sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.kid import kid as slow_kid
from references.mixtures import mixture

from gandiag.errors import ShapeError
from gandiag.metrics import kid


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 20),
    m=st.integers(2, 20),
    d=st.integers(1, 6),
    tile=st.integers(1, 25),
)
def test_equals_the_definition(seed, n, m, d, tile):
    """For any sizes and any tile the value is that of the double sums."""
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 1
    assert kid(real=real, fake=fake, tile=tile) == pytest.approx(slow_kid(real, fake), rel=1e-9, abs=1e-9)


def test_is_unbiased():
    """Over many pairs of equal distributions the mean is 0 within three standard errors."""
    values = [kid(real=mixture(60, 8, seed=s)[0], fake=mixture(60, 8, seed=s + 1000)[0]) for s in range(60)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))


def test_missing_modes_are_far():
    """With 15 of 25 modes left it is well above what held-out data reach."""
    real, held_out = mixture(600, 64)[0], mixture(600, 64, seed=1)[0]
    assert kid(real=real, fake=mixture(600, 64, seed=2, kept=15)[0]) > 5 * abs(kid(real=real, fake=held_out))


def test_inputs_are_left_alone():
    """The tiles are overwritten in place; the caller's float64 rows are not."""
    x = np.random.default_rng(0).normal(size=(10, 3))
    before = x.copy()
    kid(real=x, fake=x)
    np.testing.assert_array_equal(x, before)


def test_one_row_is_refused():
    """One row has no pair."""
    with pytest.raises(ShapeError, match="at least 2"):
        kid(real=np.zeros((4, 2)), fake=np.zeros((1, 2)))
