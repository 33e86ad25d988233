"""The size of the support from collisions, against pairs of rows and against supports of known size."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.mixtures import mixture
from references.modes import colliding_pairs, triples
from scipy.stats import poisson

from gandiag.errors import UsageError
from gandiag.metrics import METRICS
from gandiag.metrics._tiles import Rows
from gandiag.metrics.support import _collisions, _interval, _overdispersion, support


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 40))
def test_pairs_equal_the_definition(seed, n):
    """Colliding pairs are those no farther apart than the radius, copies of a row among them."""
    rng = np.random.default_rng(seed)
    fake = rng.normal(size=(n, 2))
    fake[: n // 3] = fake[-1]
    found = support(real=rng.normal(size=(20, 2)), fake=fake)
    pairs = colliding_pairs(fake, found.radius + 1e-9)
    assert found.pairs == len(pairs)
    each = np.bincount([row for pair in pairs for row in pair], minlength=n)
    if n >= 3 and pairs:
        chance = len(pairs) / (n * (n - 1) / 2)
        expected = 1 - chance + (triples(pairs, n) - n * (n - 1) * (n - 2) * chance**2) / len(pairs)
        assert _overdispersion(each) == pytest.approx(max(1.0, expected))


def test_blocks_change_nothing():
    """More rows than a block holds: each row's collisions are those of the whole matrix."""
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2500, 3)))
    rows = Rows.of(x, centre=torch.zeros(3, dtype=torch.float64), dtype=torch.float64)
    whole = (torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") <= 0.3).sum(dim=1) - 1
    np.testing.assert_array_equal(_collisions(rows, 0.3), whole.numpy())


@pytest.mark.parametrize(("size", "n"), [(50, 500), (500, 500), (5000, 1000)])
def test_a_known_support_is_within_its_interval(size, n):
    """Of 25 sets of samples from so many equal outputs at least 22 have the truth in their interval."""
    real, outputs = mixture(300, 64)[0], mixture(size, 64, seed=9)[0]
    rng = np.random.default_rng(0)
    found = [support(real=real, fake=outputs[rng.integers(0, size, n)]) for _ in range(25)]
    assert sum(one.low <= size <= one.high for one in found) >= 22
    assert np.median([one.size for one in found]) == pytest.approx(size, rel=0.1)


def test_unequal_outputs_have_an_effective_size_and_a_wider_interval():
    """With outputs of unequal chances the truth is in the interval, and a plain Poisson interval mostly misses it."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(50, 0.5))
    effective = 1 / np.square(shares).sum()
    real, outputs = mixture(300, 64)[0], mixture(50, 64, seed=9)[0]
    found = [support(real=real, fake=outputs[rng.choice(50, 500, p=shares)]) for _ in range(40)]
    possible = 500 * 499 / 2
    plain = [_interval(one.pairs, 1.0) for one in found]
    assert np.mean([one.low <= effective <= one.high for one in found]) >= 0.85
    assert np.mean([possible / high <= effective <= possible / low for low, high in plain]) < 0.6


def test_the_interval_is_that_of_a_poisson_count():
    """At its ends the count is seen with a chance of 2.5 %; of no pairs it says 3.7 at most."""
    low, high = _interval(12, 1.0)
    assert poisson.sf(11, low) == pytest.approx(0.025)
    assert poisson.cdf(12, high) == pytest.approx(0.025)
    assert _interval(0, 1.0) == (0.0, pytest.approx(-math.log(0.025)))


def test_without_collisions_there_is_a_lower_bound():
    """Data in 64 dimensions never collide: the size is infinite, and at least 1,000 * 999 / 2 / 3.7."""
    found = support(real=mixture(500, 64)[0], fake=mixture(1000, 64, seed=1)[0])
    assert (found.size, found.high, found.pairs, found.rows) == (math.inf, math.inf, 0, 1000)
    assert found.low == pytest.approx(499500 / 3.689, rel=1e-3)
    assert METRICS["support"](real=mixture(500, 64)[0], fake=mixture(1000, 64, seed=1)[0]) == found.low
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["size"] is None


@pytest.mark.parametrize("offset", [0, 1000])
def test_one_output(offset):
    """A single output, whatever the offset: its size is 1."""
    found = support(real=mixture(200, 16)[0] + offset, fake=np.ones((300, 16)) + offset)
    assert found.size == 1.0
    assert found.low <= 1.0 <= found.high


def test_a_negative_closeness_is_refused():
    """Closeness is a part of a distance."""
    with pytest.raises(UsageError, match="0 or more"):
        support(real=np.eye(3), fake=np.eye(3), closeness=-1.0)
