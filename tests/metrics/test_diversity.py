"""`pair_distance` against one pair after the other, and what its ratio sees."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.diversity import pair_distance as slow_pair_distance
from references.mixtures import mixture

from gandiag.errors import ShapeError, UsageError
from gandiag.metrics.diversity import pair_distance, pair_diversity


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 30),
    d=st.integers(1, 6),
    tile=st.integers(1, 40),
    offset=st.sampled_from([0.0, 3000.0]),
)
def test_equals_one_pair_after_the_other(seed, n, d, tile, offset):
    """Tiles of any size, repeated rows and offsets give the mean over all pairs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))[rng.integers(0, n, n)] + offset
    assert pair_distance(x, tile=tile) == pytest.approx(slow_pair_distance(x), rel=1e-7, abs=1e-6)


def test_random_pairs_estimate_it():
    """Ten thousand random pairs come within a percent or so of all pairs, the same ones for the same seed."""
    x = mixture(1000, 16)[0]
    some = pair_distance(x, pairs=10_000)
    assert some == pytest.approx(pair_distance(x), rel=0.015)
    assert some == pytest.approx(pair_distance(x, pairs=10_000, tile=7), rel=1e-12)
    assert some == pair_distance(x, pairs=10_000) != pair_distance(x, pairs=10_000, seed=1)
    assert pair_distance(x[:20], pairs=190) == pair_distance(x[:20])


def test_large_tiles():
    """Tiles of more rows than the set has, or than other metrics take at a time, give the same."""
    x = mixture(1500, 2)[0]
    assert pair_distance(x, tile=10_000) == pytest.approx(pair_distance(x, tile=100), rel=1e-12)


def test_is_one_for_equal_distributions():
    """At small and at large n alike: it has no bias that a null would have to take away."""
    for n in (50, 2000):
        assert pair_diversity(real=mixture(n, 64)[0], fake=mixture(n, 64, seed=1)[0]) == pytest.approx(1, abs=0.05)


def test_sees_collapse_of_both_kinds():
    """Missing modes and shrunken modes lower it, one output makes it 0, and noise raises it."""
    real = mixture(600, 64)[0]
    assert pair_diversity(real=real, fake=mixture(600, 64, kept=5, seed=1)[0]) < 0.95
    assert pair_diversity(real=real, fake=mixture(600, 64, std=0.05, seed=1)[0]) < 0.95
    assert pair_diversity(real=real, fake=real[:1].repeat(9, axis=0)) == 0
    assert pair_diversity(real=real, fake=9 * np.random.default_rng(0).normal(size=(600, 64))) > 2


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_rotation_translation_and_scale_change_nothing(seed):
    """The ratio is about shapes only."""
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(20, 5)), 2 * rng.normal(size=(25, 5))
    turn, shift, size = np.linalg.qr(rng.normal(size=(5, 5)))[0], rng.normal(size=5), rng.uniform(0.1, 10)
    moved = [size * (rng.permutation(x) @ turn) + shift for x in (real, fake)]
    plain = pair_diversity(real=real, fake=fake)
    assert pair_diversity(real=moved[0], fake=moved[1]) == pytest.approx(plain, rel=1e-9)
    assert pair_diversity(real=fake, fake=real) == pytest.approx(1 / plain, rel=1e-9)


def test_data_without_diversity():
    """Where all reals are the same, a ratio to them is infinite, or none."""
    assert pair_diversity(real=np.ones((3, 2)), fake=np.eye(2)) == math.inf
    assert math.isnan(pair_diversity(real=np.ones((3, 2)), fake=np.zeros((4, 2))))


def test_what_has_no_pairs_is_refused():
    """One row, and less than one pair or tile, say what is needed."""
    with pytest.raises(ShapeError, match="at least 2"):
        pair_diversity(real=np.eye(2), fake=np.ones((1, 2)))
    with pytest.raises(UsageError, match="pairs must be at least 1"):
        pair_distance(np.eye(2), pairs=0)
    with pytest.raises(UsageError, match="tile must be at least 1"):
        pair_distance(np.eye(2), tile=0)
