"""Clipped density and coverage against their definition, and what they are for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.clipped import clipped_coverage as slow_coverage
from references.clipped import clipped_density as slow_density
from references.clipped import fullness
from references.mixtures import mixture

from gandiag.errors import UsageError
from gandiag.metrics import METRICS, Clipped, RealSide, clipped
from gandiag.metrics.clipped import share_of_good


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), n=st.integers(8, 40), m=st.integers(6, 30), d=st.integers(1, 5), k=st.integers(1, 5)
)
def test_equals_the_definition(seed, n, m, d, k):
    """For any sizes, both numbers are those of the paper's formulas computed pair by pair."""
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n, d)), 1.3 * rng.normal(size=(m, d))
    found = clipped(real=real, fake=fake, k=k)
    assert found.density == pytest.approx(slow_density(real, fake, k), abs=1e-9)
    assert found.coverage == pytest.approx(slow_coverage(real, fake, k), abs=1e-6)
    assert METRICS["clipped_density"](real=real, fake=fake) == clipped(real=real, fake=fake).density
    assert METRICS["clipped_coverage"](real=real, fake=fake) == clipped(real=real, fake=fake).coverage


@pytest.mark.parametrize(("n", "m", "k"), [(20, 15, 3), (100, 40, 5), (50, 120, 1)])
def test_the_scale_of_shares_is_the_expected_fullness(n, m, k):
    """Balls as full as `s m` good fakes leave them read `s`, at both ends and between."""
    for good in (0, 1, m // 2, m):
        assert share_of_good(fullness(n, good, k), n=n, m=m, k=k) == pytest.approx(good / m, abs=1e-6)
    assert share_of_good(1.0, n=n, m=m, k=k) == 1.0


@pytest.mark.parametrize("d", [2, 64, 512])
def test_a_share_of_good_samples_reads_as_that_share(d):
    """Where a part of the fakes is data and the rest is junk far away, both numbers read that part."""
    real, fake = mixture(1500, d)[0], mixture(1500, d, seed=1)[0]
    for share in (0.3, 0.7):
        mixed = fake.copy()
        mixed[int(share * len(mixed)) :] += 100
        found = clipped(real=real, fake=mixed)
        assert found.density == pytest.approx(share, abs=0.06)
        assert found.coverage == pytest.approx(share, abs=0.06 if d < 512 else 0.15)  # hubs make it noisy


def test_one_outlier_cannot_inflate_it():
    """A real far out has a ball that holds everything: density counts it for every junk fake, clipped density not."""
    real = mixture(500, 16)[0]
    real[:20] *= 1000
    junk = 200 * np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    assert METRICS["precision"](real=real, fake=junk) > 0.5
    assert clipped(real=real, fake=junk).density < 0.02


def test_missing_modes_lower_the_coverage_only():
    """With 15 of 25 modes left coverage reads 0.6, at 0.1 % for ten modes it reads hardly more, density stays."""
    real = mixture(2000, 64)[0]
    found = clipped(real=real, fake=mixture(2000, 64, seed=1, kept=15)[0])
    assert found.coverage == pytest.approx(0.6, abs=0.05)
    assert found.density > 0.93


def test_repeated_data_and_points():
    """Data that repeat themselves, or are one point, still give numbers in range."""
    real = np.tile(mixture(50, 8)[0], (6, 1))
    for fake in (mixture(100, 8)[0], real, np.zeros((40, 8))):
        found = clipped(real=real, fake=fake)
        assert 0 <= found.density <= 1
        assert 0 <= found.coverage <= 1
    assert clipped(real=np.ones((30, 3)), fake=np.ones((20, 3))).density == 1.0


def test_a_pass_without_clipped_balls_is_refused():
    """What was not looked at is not invented."""
    real = mixture(30, 3)[0]
    with pytest.raises(UsageError, match="clipped=True"):
        Clipped.of(RealSide(real, clipped=False).against(real))
