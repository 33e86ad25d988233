"""One pass over real and fake against whole matrices in float64: every answer the same, not nearly the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.mixtures import mixture, ring
from references.neighbours import comparison, held_by_clipped, kernel_sums

from gandiag.errors import ShapeError, UsageError
from gandiag.metrics import RealSide
from gandiag.metrics._among import among
from gandiag.metrics._between import Side, between
from gandiag.metrics._pass import middle
from gandiag.metrics._tiles import Nearest, Rows, blocks, smallest

seeds = st.integers(0, 2**32 - 1)


def assert_exact(real, fake, *, k: int = 5, **options) -> None:
    """Each field equals the twin's, entry by entry."""
    found = RealSide(real, k=k, **options).against(fake)
    for name, expected in comparison(real, fake, k).items():
        np.testing.assert_array_equal(getattr(found, name).numpy(), expected, err_msg=name)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("size", [None, (64, 100)])
@pytest.mark.parametrize("d", [2, 64, 512])
def test_equals_the_definition(d, size, late):
    """At any width, in blocks of any size, with the hard decisions made early or late."""
    real, fake = mixture(500, d)[0], mixture(380, d, seed=1, kept=15)[0]
    assert_exact(real, fake, size=size, late=late)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    "change", ["x + 10", "x + 3000", "x * 1e-3", "x * 1e3", "x * 1e-22", "x * 1e21", "x / 100 + (x > 0)"]
)
def test_offsets_and_scales_are_exact(change, late):
    """Far from the origin, at any scale (also where float32 squares vanish or overflow), and in tight clusters."""
    real, fake = (mixture(300, 16, seed=seed)[0] for seed in range(2))
    change = eval(f"lambda x: ({change}).astype(np.float32)")
    assert_exact(change(real), change(fake), late=late)


@pytest.mark.parametrize("late", [False, True])
def test_copies_and_points_are_exact(late):
    """Fakes that are the data, one point, or repeat themselves: every tie is decided as in float64."""
    real, fake = mixture(300, 64)[0], mixture(200, 64, seed=1)[0]
    assert_exact(real, real[:200], late=late)
    assert_exact(real, np.repeat(real[:1], 60, axis=0), late=late)
    assert_exact(np.tile(real[:75], (4, 1)), np.concatenate([fake, real[:100], fake]), late=late)
    assert_exact(ring(400)[0], ring(300, seed=1)[0], late=late)


@pytest.mark.parametrize("late", [False, True])
def test_rows_that_exploded_hide_nobody(late):
    """A few fakes, or reals, beyond float32's squares leave the answers about all others as they are."""
    real, fake = mixture(200, 16)[0], mixture(150, 16, seed=1)[0]
    for rows in (fake, real):
        rows[3:9] *= 1e25
        rows[7] = rows[8]
        assert_exact(real, fake, late=late)
        assert_exact(real, np.concatenate([fake[:50], real[:50]]), late=late)


@settings(max_examples=25, deadline=None)
@given(
    seed=seeds, d=st.integers(1, 3), side=st.integers(2, 4), k=st.integers(1, 5), scale=st.sampled_from([1, 1e-3, 0.1])
)
def test_lattices_are_exact(seed, d, side, k, scale):
    """On a lattice nearly all distances are ties."""
    rng = np.random.default_rng(seed)
    real, fake = (scale * rng.integers(0, side, size=(n, d)) for n in (30, 25))
    assert_exact(real, fake, k=k)


@pytest.mark.parametrize("allowed", ["high", "medium"])
def test_allowed_imprecision_changes_nothing(allowed):
    """A script that allows TF32 or bfloat16 products gets the same answers, and keeps its setting."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(allowed)
    try:
        assert_exact(mixture(300, 64)[0], mixture(200, 64, seed=1)[0])
        assert torch.get_float32_matmul_precision() == allowed
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("offset", [0, 5])
@pytest.mark.parametrize("size", [None, (50, 70)])
def test_kernel_sums(size, offset):
    """The sums over each row are those of the kernel's definition, to float32's precision."""
    real, fake = mixture(230, 12)[0] + offset, mixture(170, 12, seed=1)[0] + offset
    found = RealSide(real, size=size).against(fake)
    for name, expected in kernel_sums(real, fake).items():
        np.testing.assert_allclose(getattr(found, name).numpy(), expected, rtol=2e-6, atol=1e-4, err_msg=name)


def test_clipped_balls_of_the_reals():
    """Neighbours within the clipped radius hold a row in their clipped balls."""
    real, fake = mixture(300, 8)[0], mixture(100, 8, seed=1)[0]
    found = RealSide(real).against(fake).holding_clipped_real
    np.testing.assert_array_equal(found.numpy(), held_by_clipped(real, 5))


def test_one_side_serves_many_sets():
    """A cached real side gives each set of fakes what a fresh one gives, in any order."""
    real, sets = mixture(300, 8)[0], [mixture(n, 8, seed=n)[0] for n in (100, 300, 50)]
    side = RealSide(real)
    for fake in (*sets, sets[0]):
        again, fresh = side.against(fake), RealSide(real).against(fake)
        for name in comparison(real, fake, 5):
            assert torch.equal(getattr(again, name), getattr(fresh, name))


def test_what_was_not_asked_for_is_none():
    """Each part can be left out, and leaves its fields empty."""
    real, fake = mixture(60, 4)[0], mixture(50, 4, seed=1)[0]
    found = RealSide(real, clipped=False, repeats=False, kernel=False).against(fake)
    assert found.holding_clipped is found.repeats_real is found.kernel_real is None
    assert np.isnan(found.radius)


def test_no_loop_waits_for_the_device(monkeypatch):
    """From the first block to the last no value is read back, which on a GPU would stall the whole pass."""
    real, fake = (torch.from_numpy(mixture(n, 6, seed=n)[0]) for n in (90, 80))
    centre = real.double().mean(0)
    rows, theirs = (Rows.of(x, centre=centre, dtype=torch.float32) for x in (real, fake))
    for reader in ("item", "tolist", "cpu", "nonzero", "__bool__", "__float__", "__int__"):
        monkeypatch.setattr(torch.Tensor, reader, lambda self, *_, **__: pytest.fail("a value was read back"))
    ours, others = among(real, rows, 3, size=(7, 11)), among(fake, theirs, 3, size=(7, 11))
    seen = between(
        real=Side(real, rows, ours.radii, ours.uncertain),
        fake=Side(fake, theirs, others.radii, others.uncertain),
        clip=middle(ours.radii),
        closest=True,
        size=(7, 11),
    )
    assert seen.balls.fakes_in.shape == (90,)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, rows=st.integers(1, 6), length=st.integers(1, 700), k=st.integers(1, 7), dim=st.integers(0, 1))
def test_smallest(seed, rows, length, k, dim):
    """Through groups of any length, the k smallest are those of a sort."""
    k = min(k, length)
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, length) if dim else (length, rows)))
    values, places = smallest(x, k, dim=dim)
    expected = x.sort(dim=dim).values
    expected = expected[:, :k] if dim else expected[:k].T
    torch.testing.assert_close(values.sort(dim=1).values, expected, rtol=0, atol=0)
    torch.testing.assert_close((x if dim else x.T).gather(1, places), values, rtol=0, atol=0)


def test_half_the_blocks_are_enough():
    """Blocks of a set with itself cover each pair of rows, the diagonal aside."""
    x = torch.from_numpy(mixture(50, 3)[0])
    rows = Rows.of(x, centre=x.double().mean(0), dtype=torch.float32)
    seen = torch.zeros(50, 50, dtype=torch.bool)
    for here, columns, _, d2 in blocks(rows, rows, size=(8, 12)):
        seen[here, columns] |= d2.isfinite()
    assert torch.equal(seen | seen.T, ~torch.eye(50, dtype=torch.bool))
    assert int(seen.sum()) < 50 * 50 * 0.7
    assert Nearest(50, 2, x).d2.shape == (50, 2)


def test_wrong_use_is_refused():
    """k, block sides and closeness must make sense, and the data must be wide and long enough."""
    x = mixture(20, 3)[0]
    with pytest.raises(UsageError, match="k=0"):
        RealSide(x, k=0)
    with pytest.raises(UsageError, match="size"):
        RealSide(x, size=(0, 5))
    with pytest.raises(UsageError, match="closeness"):
        RealSide(x, closeness=-1.0)
    with pytest.raises(ShapeError, match="real has 5 rows"):
        RealSide(x[:5])
    with pytest.raises(ShapeError, match="columns"):
        RealSide(x).against(x[:, :2])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_answers():
    """On a GPU every field is what it is on the CPU, and no loop waits."""
    real, fake = mixture(6000, 64)[0], mixture(5000, 64, seed=1, kept=15)[0]
    here, there = RealSide(real).against(fake), RealSide(torch.from_numpy(real).cuda()).against(fake)
    for name in comparison(real[:20], fake[:20], 5):
        assert torch.equal(getattr(here, name), getattr(there, name)), name
