"""Statistics of counts over modes, against their definitions and against chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.modes import adjusted_p as slow_adjusted_p
from scipy.stats import norm

from gandiag.metrics._shares import adjusted_p, entropy, expected_hits, reverse_kl, reverse_kl_floor, wilson


@given(total=st.integers(1, 500), share=st.floats(0, 1))
def test_wilson_is_the_interval_that_the_score_test_does_not_reject(total, share):
    """At both ends the count is 1.96 standard deviations of *that* share away, or the end is 0 or 1."""
    count = round(total * share)
    low, high = (float(end[0]) for end in wilson(np.array([count]), total))
    assert 0 <= low <= count / total <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            distance = abs(count / total - end) / math.sqrt(end * (1 - end) / total)
            assert distance == pytest.approx(norm.ppf(0.975), rel=1e-6)


def test_wilson_covers_the_truth():
    """At 20 to 500 rows and shares of 2 % to 50 % the interval holds the truth in 92 to 99 of 100 cases."""
    rng = np.random.default_rng(0)
    for n in (20, 100, 500):
        for share in (0.02, 0.1, 0.5):
            low, high = wilson(rng.binomial(n, share, 2000), n)
            assert 0.92 <= np.mean((low <= share) & (share <= high)) <= 0.995


@settings(max_examples=25, deadline=None)
@given(data=st.data(), groups=st.integers(1, 8))
def test_the_test_equals_its_definition(data, groups):
    """Fisher's p by the hypergeometric distribution, adjusted step by step as Benjamini and Hochberg say."""
    counts = st.lists(st.integers(0, 30), min_size=groups, max_size=groups)
    reals, fakes = data.draw(counts), data.draw(counts)
    reals[0] += 1
    of_fakes = sum(fakes) + data.draw(st.integers(0, 5)) + 1
    found = adjusted_p(reals=np.array(reals), fakes=np.array(fakes), of_fakes=of_fakes)
    np.testing.assert_allclose(found, slow_adjusted_p(reals, fakes, of_fakes), rtol=1e-6)


def test_chance_is_seldom_called_a_difference():
    """Of 100 pairs of draws from the same 25 shares at most 5 % have any share that is called different."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(25, 2.0))
    alarms = [
        (adjusted_p(reals=rng.multinomial(300, shares), fakes=rng.multinomial(300, shares), of_fakes=300) < 0.05).any()
        for _ in range(100)
    ]
    assert np.mean(alarms) <= 0.05


def test_entropy_and_reverse_kl_of_known_shares():
    """Equal shares have log k; a lost half costs log 2; fakes where no data are cost infinitely much."""
    assert entropy(np.array([5, 5, 5, 0])) == pytest.approx(math.log(3))
    assert reverse_kl(reals=np.array([3, 3, 3, 3]), fakes=np.array([7, 7, 0, 0])) == pytest.approx(math.log(2))
    assert reverse_kl(reals=np.array([2, 4]), fakes=np.array([10, 20])) == pytest.approx(0)
    assert reverse_kl(reals=np.array([2, 0]), fakes=np.array([1, 1])) == math.inf
    assert math.isnan(reverse_kl(reals=np.array([2, 1]), fakes=np.array([0, 0])))
    assert math.isnan(entropy(np.array([0, 0])))


@pytest.mark.parametrize(("groups", "n_real", "n_fake"), [(25, math.inf, 500), (10, 400, 300), (50, 2000, 1000)])
def test_the_floor_is_what_a_perfect_sampler_gets(groups, n_real, n_fake):
    """Over 2,000 draws from the same shares the reverse KL is on average within 8 % of the floor."""
    rng = np.random.default_rng(0)
    shares = np.full(groups, 1 / groups)
    exact = np.full(groups, 1000)
    found = [
        reverse_kl(
            reals=exact if n_real == math.inf else rng.multinomial(n_real, shares),
            fakes=rng.multinomial(n_fake, shares),
        )
        for _ in range(2000)
    ]
    assert np.mean(found) == pytest.approx(reverse_kl_floor(groups=groups, n_real=n_real, n_fake=n_fake), rel=0.08)


def test_expected_hits_are_those_of_a_perfect_sampler():
    """A thousand equal modes: 368 are missed by 1,000 samples and 82 by 2,500, as a simulation says too."""
    equal = np.full(1000, 1 / 1000)
    assert expected_hits(equal, 1000) == pytest.approx(1000 - 367.7, abs=0.1)
    assert expected_hits(equal, 2500) == pytest.approx(1000 - 82.0, abs=0.1)
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(30, 0.5))
    hits = [np.count_nonzero(rng.multinomial(100, shares)) for _ in range(2000)]
    assert expected_hits(shares, 100) == pytest.approx(np.mean(hits), abs=0.15)
    assert (expected_hits(np.array([1.0]), 3), expected_hits(np.array([0.5, 0.5]), 0)) == (1.0, 0.0)
