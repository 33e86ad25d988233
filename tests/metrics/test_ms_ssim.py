"""`ms_ssim` against one window after the other, and its mean over pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.ssim import ms_ssim as slow_ms_ssim

from gandiag.errors import ShapeError, UsageError
from gandiag.metrics import _ms_ssim
from gandiag.metrics._ms_ssim import ms_ssim, pair_ms_ssim


def images(n: int, size: tuple[int, int], *, channels: int = 1, seed: int = 0):
    """Smooth images in [0, 1], such as have structure at several scales."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, channels, *size)).cumsum(axis=2).cumsum(axis=3)
    low, high = x.min(axis=(2, 3), keepdims=True), x.max(axis=(2, 3), keepdims=True)
    return (x - low) / (high - low)


@pytest.mark.parametrize(
    ("size", "scales"), [((11, 14), 1), ((21, 22), 2), ((28, 28), 2), ((33, 30), 2), ((41, 43), 3), ((45, 41), 3)]
)
def test_equals_one_window_after_the_other(size, scales):
    """Odd and even sizes, several channels, and as many scales as fit."""
    x, y = images(2, size, channels=2), images(2, size, channels=2, seed=1)
    y[1] = np.clip(x[1] + 0.05 * np.random.default_rng(2).normal(size=x[1].shape), 0, 1)
    expected = [slow_ms_ssim(a, b, 1.0, scales) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ms_ssim(x, y), expected, rtol=1e-9, atol=1e-12)
    single = [slow_ms_ssim(a, b, 1.0, 1) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ms_ssim(x, y, scales=1), single, rtol=1e-9)


def test_equals_one_window_after_the_other_at_five_scales():
    """At 161 pixels all five scales of the paper are used, with its exponents as printed."""
    x = images(1, (161, 161))
    y = np.clip(x + 0.1 * np.random.default_rng(0).normal(size=x.shape), 0, 1)
    assert float(ms_ssim(x, y)) == pytest.approx(slow_ms_ssim(x[0], y[0], 1.0, 5), rel=1e-9)
    with pytest.raises(ShapeError, match="161 a side"):
        ms_ssim(x[:, :, 1:], y[:, :, 1:], scales=5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_is_a_similarity(seed):
    """1 for equal images, the same both ways, within [0, 1], lower the more is changed."""
    x = images(1, (24, 24), seed=seed)
    noise = np.random.default_rng(seed).normal(size=x.shape)
    values = [float(ms_ssim(x, x + size * noise, data_range=1.0)) for size in (0.0, 0.05, 0.5)]
    assert values[0] == pytest.approx(1, abs=1e-12)
    assert 0 <= values[2] < values[1] < 1
    assert float(ms_ssim(x + 0.05 * noise, x, data_range=1.0)) == pytest.approx(values[1], rel=1e-12)


def test_opposite_images_have_no_similarity():
    """Where structure is negative at a scale, a fractional power would be no number; it counts as none."""
    x = images(1, (24, 24))
    assert float(ms_ssim(x, 1 - x)) == 0.0


def test_range_is_found_or_asked_for():
    """255 for uint8, 1 or 2 for floats within [0, 1] or [-1, 1], and the value does not depend on which it was."""
    x, y = (np.round(255 * images(2, (24, 24), seed=seed)) for seed in (0, 1))
    expected = ms_ssim(x, y, data_range=255.0).numpy()
    assert (expected > 0).all()
    np.testing.assert_allclose(ms_ssim(x.astype(np.uint8), y.astype(np.uint8)), expected, rtol=1e-12)
    np.testing.assert_allclose(ms_ssim(x / 255, y / 255), expected, rtol=1e-9)
    assert pair_ms_ssim(x / 127.5 - 1).data_range == 2.0
    with pytest.raises(UsageError, match="give the range"):
        ms_ssim(x, y)
    with pytest.raises(UsageError, match="give the range"):
        ms_ssim(x.astype(np.uint8), y)
    with pytest.raises(UsageError, match="positive"):
        ms_ssim(x, y, data_range=0.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_floats(dtype):
    """What is compared are the values as they are stored, in float64."""
    x, y = (torch.from_numpy(images(2, (24, 24), seed=seed)).to(dtype) for seed in (0, 1))
    torch.testing.assert_close(ms_ssim(x, y), ms_ssim(x.double(), y.double()))


def test_mean_over_all_pairs():
    """With as many pairs as there are, each pair counts once, whatever the seed and how many are compared at a time."""
    x = images(5, (24, 24), channels=3)
    found = pair_ms_ssim(x, pairs=10)
    assert sorted(found.pairs.tolist()) == [[i, j] for i in range(5) for j in range(i + 1, 5)]
    np.testing.assert_array_equal(found.values, ms_ssim(x[found.pairs[:, 0]], x[found.pairs[:, 1]]))
    assert found.mean == pytest.approx(float(found.values.mean()))
    assert found.scales == 2
    assert pair_ms_ssim(x, seed=3).mean == found.mean


def test_pairs_are_bounded_drawn_by_seed_and_independent_of_tiles(monkeypatch):
    """As many as asked for; the same for the same seed, also one at a time; no global random stream moves."""
    x = images(30, (16, 16))
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    found = pair_ms_ssim(x, pairs=20, seed=1)
    monkeypatch.setattr(_ms_ssim, "_AT_A_TIME", 1)
    assert torch.equal(pair_ms_ssim(x, pairs=20, seed=1).values, found.values)
    assert len(found.values) == 20
    assert not torch.equal(pair_ms_ssim(x, pairs=20, seed=2).pairs, found.pairs)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_pairs_of_one_class():
    """With labels, no pair mixes classes, so that classes which differ do not pass for diversity."""
    base = images(2, (24, 24))
    labels = torch.tensor([0, 1] * 6)
    x = np.clip(base[labels.numpy()] + 0.01 * np.random.default_rng(0).normal(size=(12, 1, 24, 24)), 0, 1)
    within = pair_ms_ssim(x, labels=labels)
    assert (labels[within.pairs[:, 0]] == labels[within.pairs[:, 1]]).all()
    assert len(within.values) == 30
    assert within.mean > 0.9 > pair_ms_ssim(x).mean
    with pytest.raises(ShapeError, match="one integer for each of 12"):
        pair_ms_ssim(x, labels=labels[:3])


def test_sees_collapse():
    """A generator of one image and a little noise has a higher value than data."""
    real = images(40, (32, 32))
    fake = np.clip(real[:1] + 0.02 * np.random.default_rng(0).normal(size=real.shape), 0, 1)
    assert pair_ms_ssim(fake, pairs=100).mean > pair_ms_ssim(real, pairs=100).mean + 0.3


def test_small_images_are_not_resized():
    """Images smaller than the window are refused with what can be done, and so are more scales than fit."""
    with pytest.raises(ShapeError, match="enlarge real and fake images alike"):
        ms_ssim(images(2, (10, 30)), images(2, (10, 30)))
    with pytest.raises(ShapeError, match="too small for 3 scales, which need 41 a side"):
        pair_ms_ssim(images(2, (40, 41)), scales=3)
    with pytest.raises(UsageError, match="from 1 to 5"):
        pair_ms_ssim(images(2, (40, 41)), scales=6)


def test_what_are_no_images_is_refused():
    """Rows, channels last, integers, broken values and unequal shapes say what is wanted."""
    good = images(2, (16, 16))
    with pytest.raises(ShapeError, match="channels first"):
        ms_ssim(good[0], good[0])
    with pytest.raises(ShapeError, match="too small"):
        ms_ssim(np.moveaxis(good, 1, 3), np.moveaxis(good, 1, 3))
    with pytest.raises(ShapeError, match="convert them first"):
        ms_ssim(good.astype(np.int64), good.astype(np.int64))
    with pytest.raises(ShapeError, match="NaN or infinity"):
        ms_ssim(good, np.full_like(good, np.nan))
    with pytest.raises(ShapeError, match="same shape"):
        ms_ssim(good, good[:1])
    with pytest.raises(UsageError, match="give at least two"):
        pair_ms_ssim(good[:1])
