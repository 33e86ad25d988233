"""`frechet` against the paper's formula, and where that formula breaks."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.frechet import careful_frechet, exact_frechet
from references.frechet import frechet as slow_frechet
from references.mixtures import mixture

from gandiag.errors import ShapeError
from gandiag.metrics._moments import Moments
from gandiag.metrics._spectral import covariance_root, nuclear_norm
from gandiag.metrics.frechet import Gaussian, frechet, frechet_between, frechet_to

seeds = st.integers(0, 2**32 - 1)


def both(real, fake):
    """From the rows and from their moments."""
    return frechet(real=real, fake=fake), frechet_between(real=Moments.of(real), fake=Moments.of(fake))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, n=st.integers(12, 60), m=st.integers(12, 60), d=st.integers(1, 8))
def test_equals_the_formula(seed, n, m, d):
    """For full-rank covariances the value is the paper's, by the general matrix square root."""
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n, d)), rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) + 1
    assert both(real, fake) == pytest.approx([slow_frechet(real, fake)] * 2, rel=1e-6, abs=1e-8)


@functools.cache
def known(d, n):
    """A pair of sets, and their distance by SciPy."""
    rng = np.random.default_rng(d)
    real, fake = rng.normal(size=(n, d)), 0.7 * rng.normal(size=(n + 9, d)) + 0.3
    return real, fake, slow_frechet(real, fake)


@pytest.mark.parametrize(("offset", "scale"), [(0, 1e-3), (0, 1e3), (100, 1), (3000, 1e-3), (3000, 1e3)])
@pytest.mark.parametrize(("d", "n"), [(2, 200), (64, 300), (512, 600)])
def test_equals_scipy_at_any_scale_and_offset(d, n, offset, scale):
    """To 1e-6 of SciPy's square root at d = 2, 64 and 512, far off centre, very small and very large."""
    real, fake, expected = known(d, n)
    seen = [scale * x + offset for x in (real, fake)]
    assert both(*seen) == pytest.approx([scale**2 * expected] * 2, rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 20), (5, 7), (8, 9), (9, 8), (30, 3)])
def test_fewer_rows_than_columns(n, m):
    """Rank-deficient covariances, where square roots turned imaginary elsewhere, give the exact value."""
    rng = np.random.default_rng(n + m)
    real, fake = rng.normal(size=(n, 8)), 2 * rng.normal(size=(m, 8)) + 1
    assert both(real, fake) == pytest.approx([exact_frechet(real, fake)] * 2, rel=1e-7)


@pytest.mark.parametrize("last", [1e-3, 1e-6, 1e-9, 1e-20])
@pytest.mark.parametrize(("d", "n"), [(7, 40), (64, 200)])
def test_steep_spectra(d, n, last):
    """Directions with a billionth of the spread of others cost no digits; SciPy's square root loses half of them."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    real, fake = (rng.normal(size=(n, d)) * np.geomspace(1, last, d) @ turn for _ in range(2))
    expected = exact_frechet(real, fake) if d < 10 else careful_frechet(real, fake)
    assert both(real, fake) == pytest.approx([expected] * 2, rel=1e-8)


def test_low_ranks_among_many_columns():
    """Two sets of 3 and 4 directions in 100 columns, one direction dominant: no zero comes out as more than one."""
    rng = np.random.default_rng(0)
    real = rng.normal(size=(150, 3)) @ rng.normal(size=(3, 100))
    fake = rng.normal(size=(90, 4)) @ rng.normal(size=(4, 100))
    for x in (real, fake):
        x[:, 0] *= 1e3
    assert both(real, fake) == pytest.approx([careful_frechet(real, fake)] * 2, rel=1e-6)


def test_constant_and_repeated_columns():
    """Dead features and copies of features make covariances singular; the value is exact all the same."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(30, 6)), 2 * rng.normal(size=(40, 6))
    for x in (real, fake):
        x[:, 1], x[:, 3] = 7.0, x[:, 2]
    fake[:, 5] = 3.0
    assert both(real, fake) == pytest.approx([exact_frechet(real, fake)] * 2, rel=1e-7)


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
    assert both(real, rng.permutation(real)) == pytest.approx([0, 0], abs=1e-7)
    assert frechet(real=real, fake=fake) == pytest.approx(frechet(real=fake, fake=real), rel=1e-8)
    assert frechet(real=real, fake=fake) > 0


@settings(max_examples=15, deadline=None)
@given(seed=seeds, n=st.integers(2, 40))
def test_rotation_translation_and_row_order_change_nothing(seed, n):
    """The same motion of both sets, and any order of their rows, leave the distance as it is."""
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n, 6)), 2 * rng.normal(size=(n + 3, 6))
    turn, shift = np.linalg.qr(rng.normal(size=(6, 6)))[0], 10 * rng.normal(size=6)
    moved = [rng.permutation(x) @ turn + shift for x in (real, fake)]
    assert both(*moved) == pytest.approx(both(real, fake), rel=1e-7)


@pytest.mark.parametrize("offset", [100, 3000, 1e6])
def test_offsets_cost_nothing(offset):
    """A constant added to both sets, as float64, does not change the value."""
    real, fake = mixture(300, 16)[0].astype(np.float64), mixture(300, 16, kept=15, seed=1)[0].astype(np.float64)
    assert both(real + offset, fake + offset) == pytest.approx(both(real, fake), rel=1e-6)


def test_constant_fakes():
    """A generator with one output has a covariance of zero, and the distance is finite."""
    real, _ = mixture(200, 8)
    expected = float((real.astype(float).mean(0) ** 2).sum() + np.trace(np.cov(real.T)))
    assert both(real, np.zeros((50, 8))) == pytest.approx([expected] * 2, rel=1e-6)
    assert both(np.zeros((50, 8)), np.ones((3, 8))) == (8.0, 8.0)


def test_a_fitted_gaussian_is_used_again():
    """One fit of the data serves many sets of fakes, and can come from rows or from moments."""
    real, fake = mixture(300, 16)[0], mixture(200, 16, seed=1)[0]
    expected = frechet(real=real, fake=fake)
    for fitted in (Gaussian.of(torch.from_numpy(real)), Gaussian.of_moments(Moments.of(real))):
        assert frechet_to(fitted, torch.from_numpy(fake)) == pytest.approx(expected, rel=1e-9)


def test_one_row_is_refused():
    """One row has no covariance."""
    with pytest.raises(ShapeError, match="at least 2"):
        frechet(real=torch.zeros(1, 3), fake=torch.zeros(5, 3))
    with pytest.raises(ShapeError, match="at least 2"):
        frechet_between(real=Moments.of(torch.zeros(5, 3)), fake=Moments.of(torch.zeros(1, 3)))


def test_moments_of_another_width_are_refused():
    """Moments of different embedders cannot be compared."""
    with pytest.raises(ShapeError, match="same embedder"):
        frechet_between(real=Moments.of(torch.zeros(5, 3)), fake=Moments.of(torch.zeros(5, 4)))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, n=st.integers(1, 12), d=st.integers(1, 12), rank=st.integers(0, 12))
def test_nuclear_norm_is_the_sum_of_singular_values(seed, n, d, rank):
    """Also of matrices of lower rank, whose zero singular values would come out as 1e-8 each where they are squared."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d))
    expected = np.linalg.svd(x, compute_uv=False).sum()
    assert float(nuclear_norm(torch.from_numpy(x))) == pytest.approx(expected, rel=2e-8, abs=1e-300)


@pytest.mark.parametrize("rank", [0, 1, 5, 8])
def test_a_root_of_a_covariance(rank):
    """`A Aᵀ` is the covariance, full rank or not."""
    rows = np.random.default_rng(rank).normal(size=(rank, 8))
    covariance = torch.from_numpy(rows.T @ rows)
    root = covariance_root(covariance)
    torch.testing.assert_close(root @ root.T, covariance, rtol=1e-12, atol=1e-12)


def test_values_that_no_covariance_holds_are_refused():
    """Near 1e150 products leave float64: that is an error with a cure, and near 1e60 the distance has its own scale."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 40, 3))
    assert frechet(real=1e60 * real, fake=1e60 * fake) == pytest.approx(1e120 * frechet(real=real, fake=fake))
    with pytest.raises(ShapeError, match="scale near 1"):
        frechet(real=1e150 * real, fake=1e150 * fake)
