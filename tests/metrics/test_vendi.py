"""`vendi` against the full kernel, and the numbers known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.mixtures import mixture
from references.vendi import vendi as slow_vendi

from gandiag.errors import ShapeError, UsageError
from gandiag.metrics import METRICS, vendi

ORDERS = (0.1, 0.5, 1.0, 2.0, 7.0, float("inf"))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 40), d=st.integers(1, 40), q=st.sampled_from(ORDERS))
def test_equals_the_full_kernel(seed, n, d, q):
    """The smaller side of the problem has the answer of the n x n kernel, for every order."""
    x = np.random.default_rng(seed).normal(size=(n, d))
    assert vendi(x, q=q) == pytest.approx(slow_vendi(x, q), rel=1e-6)


@pytest.mark.parametrize("q", [0.0, *ORDERS])
@pytest.mark.parametrize("n", [1, 3, 8])
def test_counts_orthogonal_samples(n, q):
    """n orthogonal directions, each with equally many samples, count as n for every order."""
    assert vendi(np.repeat(np.eye(8)[:n], 5, axis=0), q=q) == pytest.approx(n)


@pytest.mark.parametrize("q", ORDERS)
def test_copies_count_once(q):
    """One sample many times is one sample; so is a set of zeros, which has no direction at all."""
    assert vendi(np.ones((50, 3)), q=q) == pytest.approx(1)
    assert vendi(np.zeros((50, 3)), q=q) == 1


def test_falls_with_the_order():
    """Rényi entropy never rises with its order."""
    x = mixture(200, 16)[0]
    values = [vendi(x, q=q) for q in ORDERS]
    assert values == sorted(values, reverse=True)


def test_sees_collapse_of_both_kinds():
    """Missing modes and shrunken modes both lower it."""
    full = vendi(mixture(600, 64)[0])
    assert vendi(mixture(600, 64, kept=15)[0]) < 0.9 * full
    assert vendi(mixture(600, 64, std=0.05)[0]) < 0.9 * full


def test_the_metric_does_not_depend_on_an_offset():
    """Registered as a metric it centres on the real mean, so that an offset does not hide everything."""
    real, fake = mixture(200, 16)[0].astype(float), mixture(200, 16, seed=1)[0].astype(float)
    plain = METRICS["vendi"](real=real, fake=fake)
    assert METRICS["vendi"](real=real + 100, fake=fake + 100) == pytest.approx(plain, rel=1e-9)
    assert vendi(fake + 100) < 1.1


@pytest.mark.parametrize("q", [-1.0, float("nan")])
def test_orders_that_do_not_exist_are_refused(q):
    """A negative order or NaN is a mistake."""
    with pytest.raises(UsageError, match="order q"):
        vendi(np.eye(3), q=q)


def test_no_rows_are_refused():
    """Nothing has no diversity."""
    with pytest.raises(ShapeError, match="0 rows"):
        vendi(np.zeros((0, 3)))
