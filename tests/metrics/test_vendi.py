"""`vendi` against the full kernel, and the numbers known beforehand."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.mixtures import mixture
from references.vendi import exact_vendi
from references.vendi import vendi as slow_vendi

from gandiag.errors import ShapeError, UsageError
from gandiag.metrics import METRICS
from gandiag.metrics.vendi import vendi

MODULE = sys.modules["gandiag.metrics.vendi"]  # the package has a function of that name
ORDERS = (0.1, 0.5, 1.0, 2.0, 7.0, float("inf"))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 40), d=st.integers(1, 40), q=st.sampled_from(ORDERS))
def test_equals_the_full_kernel(seed, n, d, q):
    """The smaller side of the problem has the answer of the n x n kernel, for every order."""
    x = np.random.default_rng(seed).normal(size=(n, d))
    assert vendi(x, q=q) == pytest.approx(slow_vendi(x, q), rel=1e-6)


@pytest.mark.parametrize("q", [0.0, *ORDERS])
@pytest.mark.parametrize(("n", "d"), [(700, 32), (32, 700)])
def test_equals_the_full_kernel_at_length(n, d, q, monkeypatch):
    """Also where the kernel is summed over many tiles of rows, or of columns, with zero rows and copies among them."""
    monkeypatch.setattr(MODULE, "_TILE", 2_000)
    x = mixture(n, d)[0].astype(np.float64)
    x[3], x[5], x[6] = 0.0, x[4], 1e-3 * x[4]
    assert vendi(x, q=q) == pytest.approx(slow_vendi(x, q), rel=1e-6)


@pytest.mark.parametrize("q", [0.0, *ORDERS])
@pytest.mark.parametrize("gap", [1e-1, 1e-3, 1e-5])
def test_sets_that_nearly_are_one_sample(gap, q):
    """Rows that differ by 1e-5 of their length have shares of 1e-11; those count as the definition says."""
    rng = np.random.default_rng(0)
    tall = rng.normal(size=3) + gap * rng.normal(size=(9, 3))
    wide = rng.normal(size=12) + gap * rng.normal(size=(5, 12))
    for x in (tall, wide):
        assert vendi(x, q=q) == pytest.approx(exact_vendi(x, q), rel=1e-6)


@pytest.mark.parametrize("q", [0.0, *ORDERS])
@pytest.mark.parametrize("n", [1, 3, 8])
def test_counts_orthogonal_samples(n, q):
    """n orthogonal directions, each with equally many samples, count as n for every order."""
    assert vendi(np.repeat(np.eye(8)[:n], 5, axis=0), q=q) == pytest.approx(n)


@pytest.mark.parametrize("q", [0.0, *ORDERS])
@pytest.mark.parametrize("n", [1, 2, 3, 50, 30_000])
def test_copies_count_once(n, q):
    """One sample many times is one sample; so is a set of zeros, which has no direction at all."""
    one = np.random.default_rng(n).normal(size=3)
    assert vendi(np.tile(one, (n, 1)), q=q) == pytest.approx(1, abs=1e-9)
    assert vendi(np.zeros((n, 3)), q=q) == 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), q=st.sampled_from([0.0, *ORDERS]))
def test_order_rotation_and_length_of_rows_change_nothing(seed, q):
    """Only the angles between rows matter."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(20, 5))
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    moved = rng.permutation(x) @ turn * rng.uniform(1e-3, 1e3, size=(20, 1))
    assert vendi(moved, q=q) == pytest.approx(vendi(x, q=q), rel=1e-9)


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
def test_rows_of_any_size(size):
    """Rows whose squares are no numbers any more point where they point."""
    x = mixture(50, 4)[0].astype(np.float64)
    assert vendi(size * x) == pytest.approx(vendi(x), rel=1e-9)


@pytest.mark.parametrize("near", [1 - 1e-9, 1 + 1e-9, 1 + 1e-12])
def test_is_continuous_at_the_order_of_shannon(near):
    """Orders next to 1, where the formula divides nothing by nothing, have next to its value."""
    x = mixture(200, 16)[0]
    assert vendi(x, q=near) == pytest.approx(vendi(x), rel=1e-8)


def test_is_continuous_at_infinity():
    """A very large order does not underflow but nears the limit."""
    x = mixture(200, 16)[0]
    assert vendi(x, q=1e6) == pytest.approx(vendi(x, q=float("inf")), rel=1e-4)


def test_falls_with_the_order():
    """Rényi entropy never rises with its order."""
    x = mixture(200, 16)[0]
    values = [
        vendi(x, q=q) for q in (0.0, 0.1, 0.49, 0.5, 0.51, 0.9, 1.0, 1.1, 1.49, 1.5, 1.51, 2.0, 7.0, float("inf"))
    ]
    assert values == sorted(values, reverse=True)


def test_sees_collapse_of_both_kinds():
    """Missing modes and shrunken modes both lower it."""
    full = vendi(mixture(600, 64)[0])
    assert vendi(mixture(600, 64, kept=15)[0]) < 0.9 * full
    assert vendi(mixture(600, 64, std=0.05)[0]) < 0.9 * full


def test_the_metric_does_not_depend_on_an_offset():
    """Registered as a metric it is seen from the real mean, so that an offset does not hide everything."""
    real, fake = mixture(200, 16)[0].astype(float), mixture(200, 16, seed=1)[0].astype(float)
    plain = METRICS["vendi"](real=real, fake=fake)
    assert METRICS["vendi"](real=real + 100, fake=fake + 100) == pytest.approx(plain, rel=1e-9)
    assert vendi(fake + 100) < 1.1
    assert vendi(fake + 100, origin=real.mean(axis=0) + 100) == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize(("n", "d"), [(4000, 8), (8, 4000)])
def test_needs_no_copy_of_the_set(n, d, monkeypatch):
    """No tensor as large as the rows is made, neither n x n where d < n, nor the rows in float64."""
    monkeypatch.setattr(MODULE, "_TILE", 1_000)
    x = torch.from_numpy(mixture(n, d)[0])
    sizes = _Sizes()
    with sizes:
        vendi(x)
    assert sizes.largest <= n + d + 2_000


class _Sizes(torch.utils._python_dispatch.TorchDispatchMode):
    """The largest float64 tensor that any operation made."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float64:
                self.largest = max(self.largest, tensor.numel())
        return made


@pytest.mark.parametrize("q", [-1.0, float("nan")])
def test_orders_that_do_not_exist_are_refused(q):
    """A negative order or NaN is a mistake."""
    with pytest.raises(UsageError, match="order q"):
        vendi(np.eye(3), q=q)


@pytest.mark.parametrize("origin", [[0.0], [0.0, 0.0, float("nan")], [[0.0, 0.0, 0.0]]])
def test_an_origin_that_is_no_point_is_refused(origin):
    """Rows can only be seen from one point of their own space."""
    with pytest.raises(ShapeError, match="one finite row of 3"):
        vendi(np.eye(3), origin=origin)


def test_no_rows_are_refused():
    """Nothing has no diversity."""
    with pytest.raises(ShapeError, match="0 rows"):
        vendi(np.zeros((0, 3)))
