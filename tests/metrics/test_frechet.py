"""`frechet` against the paper's formula, and where that formula breaks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.frechet import frechet as slow_frechet
from references.mixtures import mixture

from gandiag.errors import ShapeError
from gandiag.metrics import frechet

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, n=st.integers(12, 60), m=st.integers(12, 60), d=st.integers(1, 8))
def test_equals_the_formula(seed, n, m, d):
    """For full-rank covariances the value is the paper's, by the general matrix square root."""
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n, d)), rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) + 1
    assert frechet(real=real, fake=fake) == pytest.approx(slow_frechet(real, fake), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("n", "m"), [(10, 12), (10, 80), (80, 10), (40, 40)])
def test_fewer_rows_than_columns(n, m):
    """Rank-deficient covariances, where square roots turned imaginary elsewhere, give a finite real value."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(n, 40)), rng.normal(size=(m, 40))
    assert frechet(real=real, fake=fake) == pytest.approx(slow_frechet(real, fake), rel=1e-4)


def test_known_gaussians():
    """Between N(0, I) and N(c, s² I) it is |c|² + d (s - 1)², up to sampling."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(20_000, 4)), 3 * rng.normal(size=(20_000, 4)) + 2
    assert frechet(real=real, fake=fake) == pytest.approx(4 * 4 + 4 * 4, rel=0.03)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, d=st.integers(1, 30))
def test_is_a_symmetric_distance(seed, d):
    """Never negative, zero for a set and itself in any order, and the same with the roles exchanged."""
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(20, d)), 2 * rng.normal(size=(25, d))
    assert frechet(real=real, fake=rng.permutation(real)) == pytest.approx(0, abs=1e-6)
    assert frechet(real=real, fake=fake) == pytest.approx(frechet(real=fake, fake=real), rel=1e-8)
    assert frechet(real=real, fake=fake) > 0


@pytest.mark.parametrize("offset", [100, 3000, 1e6])
def test_offsets_cost_nothing(offset):
    """A constant added to both sets, as float64, does not change the value."""
    real, fake = mixture(300, 16)[0].astype(np.float64), mixture(300, 16, kept=15, seed=1)[0].astype(np.float64)
    assert frechet(real=real + offset, fake=fake + offset) == pytest.approx(frechet(real=real, fake=fake), rel=1e-6)


def test_constant_fakes():
    """A generator with one output has a covariance of zero, and the distance is finite."""
    real, _ = mixture(200, 8)
    value = frechet(real=real, fake=np.zeros((50, 8)))
    assert value == pytest.approx(float((real.astype(float).mean(0) ** 2).sum() + np.trace(np.cov(real.T))), rel=1e-6)


def test_one_row_is_refused():
    """One row has no covariance."""
    with pytest.raises(ShapeError, match="at least 2"):
        frechet(real=torch.zeros(1, 3), fake=torch.zeros(5, 3))
