"""`Moments` against exact rational arithmetic, in whatever pieces the rows come."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import moments_of_ranks
from hypothesis import given, settings
from hypothesis import strategies as st
from references.moments import moments as exact_moments

from gandiag.errors import ShapeError
from gandiag.metrics import _moments
from gandiag.metrics._moments import Moments


def assert_exact(found: Moments, rows) -> None:
    """The mean is as exact as float64 can hold it, and each entry of the scatter to 1e-12 of the spreads it is of."""
    mean, scatter = exact_moments(rows)
    assert found.count == len(rows)
    errors = [[float(value) for value in row] for row in np.array(scatter) - exact(found.scatter)]
    spreads = np.sqrt([float(scatter[j][j]) for j in range(len(mean))])
    assert (np.abs(errors) <= 1e-12 * np.outer(spreads, spreads)).all()
    center = np.array(mean, dtype=float)
    assert (np.abs(found.mean.numpy() - center) <= 1e-15 * np.abs(center) + 1e-14 * spreads).all()


def exact(matrix):
    from fractions import Fraction

    return np.array([[Fraction(value) for value in row] for row in matrix.tolist()])


def rows(n: int, d: int, *, offset: float = 0.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * rng.uniform(0.1, 10, size=d) + offset


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 25), max_size=8),
    offset=st.sampled_from([0.0, -3000.0, 1e6]),
)
def test_any_split_gives_the_same(seed, cuts, offset):
    """Batches of any sizes, empty ones included, a million spreads off centre: 1e-12."""
    x = rows(25, 3, offset=offset, seed=seed)
    batches = np.split(x, sorted(cuts))
    assert_exact(Moments.over(batches), x)
    assert_exact(Moments.of(x), x)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_one_row_at_a_time(offset):
    """Even that loses no digit, in sorted order too, where the first rows are far from all others."""
    x = np.sort(rows(100, 2, offset=offset), axis=0)
    assert_exact(Moments.over(x[:, None, :]), x)


def test_sums_in_any_order():
    """`a + b` is `b + a`, and brackets do not matter."""
    x = rows(30, 3, offset=1e6)
    a, b, c = (Moments.of(part) for part in np.split(x, [4, 20]))
    for total in (a + b + c, c + (b + a), b + c + a):
        assert_exact(total, x)


def test_tiles_change_nothing(monkeypatch):
    """Rows that are widened a few at a time sum up to the same."""
    x = rows(100, 3, offset=1e6)
    monkeypatch.setattr(_moments, "_TILE", 1)
    assert_exact(Moments.of(x), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8])
def test_any_dtype(dtype):
    """What is summed are the values as they are stored, widened to float64 first."""
    x = torch.from_numpy(rows(50, 3, offset=40)).abs().to(dtype)
    assert_exact(Moments.of(x), x.double().numpy())


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_agrees_with_numpy_at_width(size):
    """At d = 300 the covariance is NumPy's, to rounding, and exactly symmetric."""
    x = size * np.random.default_rng(0).normal(size=(500, 300))
    found = Moments.over(np.split(x, [7, 260]))
    np.testing.assert_allclose(found.covariance, np.cov(x, rowvar=False), rtol=1e-10, atol=1e-13 * size**2)
    assert torch.equal(found.scatter, found.scatter.T)


def test_one_row_and_none():
    """One row has a mean and no covariance; no rows have neither, and add nothing to others."""
    one, none = Moments.of([[1.0, 2.0]]), Moments.of(np.zeros((0, 2)))
    assert one.mean.tolist() == [1.0, 2.0]
    assert not one.scatter.any()
    with pytest.raises(ShapeError, match="at least 2 rows"):
        _ = one.covariance
    assert none.mean.isnan().all()
    for total in (one + none, none + one, none + none + one):
        assert total.mean.tolist() == [1.0, 2.0]
        assert total.count == 1


def test_a_sum_leaves_its_parts_alone():
    """Moments are values: adding changes neither of them."""
    a, b = Moments.of(rows(5, 2)), Moments.of(rows(6, 2, seed=1))
    before = [part.scatter.clone() for part in (a, b)]
    _ = a + b
    assert torch.equal(a.scatter, before[0])
    assert torch.equal(b.scatter, before[1])


def test_what_cannot_be_summed_is_refused():
    """Other widths, no batches, and rows that are not finite say what to do."""
    with pytest.raises(ShapeError, match="same embedder"):
        Moments.of(np.ones((3, 2))) + Moments.of(np.ones((3, 4)))
    with pytest.raises(ShapeError, match="at least one"):
        Moments.over([])
    with pytest.raises(ShapeError, match="NaN or infinity: rows 1"):
        Moments.of([[1.0], [float("nan")]])


def test_without_ranks_there_is_nothing_to_merge():
    """Where torch.distributed is not in use, one process has all the rows."""
    one = Moments.of(rows(5, 2))
    assert one.merged_over_ranks() is one


def test_ranks_together_equal_one_process(tmp_path):
    """Three ranks, one without rows, far off centre: all know the moments of all; other widths are refused."""
    x = rows(50, 3, offset=1e6)
    np.save(tmp_path / "rows.npy", x)
    words = [sys.executable, "-W", "error", str(Path(moments_of_ranks.__file__)), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    alone = Moments.of(x)
    ranks = [np.load(tmp_path / f"rank-{rank}.npz") for rank in range(moments_of_ranks.RANKS)]
    for rank in ranks:
        assert int(rank["count"]) == 50
        np.testing.assert_array_equal(rank["mean"], ranks[0]["mean"])
        np.testing.assert_array_equal(rank["scatter"], ranks[0]["scatter"])
        np.testing.assert_allclose(rank["mean"], alone.mean, rtol=1e-15)
        np.testing.assert_allclose(rank["scatter"], alone.scatter, rtol=0, atol=1e-12 * alone.scatter.trace())
        assert "columns" in str(rank["refused"])
