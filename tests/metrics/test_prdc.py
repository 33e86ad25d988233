"""`prdc` against its slow twin, and the properties that its readings rest on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.mixtures import mixture
from references.prdc import fast_prdc
from references.prdc import prdc as slow_prdc

from gandiag.errors import ShapeError, UsageError
from gandiag.metrics import prdc, precision, recall
from gandiag.metrics import prdc as prdc_function

NAMES = ("precision", "recall", "density", "coverage")
seeds = st.integers(0, 2**32 - 1)


def four(found) -> dict[str, float]:
    return {name: getattr(found, name) for name in NAMES}


@settings(max_examples=40, deadline=None)
@given(seed=seeds, n=st.integers(6, 24), m=st.integers(6, 24), d=st.integers(1, 5), k=st.integers(1, 5))
def test_equals_the_definition(seed, n, m, d, k):
    """For any sizes, all four numbers are those of the definition computed pair by pair."""
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.3
    assert four(prdc(real=real, fake=fake, k=k)) == pytest.approx(slow_prdc(real, fake, k), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, d=st.integers(1, 3), side=st.integers(2, 4), k=st.integers(1, 5), offset=st.integers(-3000, 3000))
def test_ties_and_repeated_rows_are_exact(seed, d, side, k, offset):
    """On a small lattice, full of ties and copies, `<=` still holds for every pair that it holds for."""
    rng = np.random.default_rng(seed)
    real = rng.integers(0, side, size=(14, d)).astype(np.float32) + offset
    fake = rng.integers(0, side, size=(17, d)).astype(np.float32) + offset
    assert four(prdc(real=real, fake=fake, k=k)) == pytest.approx(slow_prdc(real, fake, k), abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-8, 3e7])
def test_identical_rows_count_as_inside(value):
    """All rows equal in both sets: everything is inside everything (issue 7 of the `prdc` package answers 0)."""
    x = torch.full((20, 3), value)
    assert four(prdc(real=x, fake=x)) == {"precision": 1.0, "recall": 1.0, "density": 4.0, "coverage": 1.0}


@pytest.mark.parametrize("d", [2, 64, 512])
def test_a_copy_of_the_data_is_never_outside(d):
    """Fakes that are the reals in another order lie in every ball, in float32 too."""
    real, _ = mixture(1200, d)
    fake = real[np.random.default_rng(1).permutation(len(real))]
    found = prdc(real=real, fake=fake)
    assert found.precision == found.recall == found.coverage == 1.0


@pytest.mark.parametrize("offset", [0, 10, 100, 1000, 3000])
def test_offsets_give_the_float64_answer(offset):
    """A constant added to float32 embeddings costs nothing but the digits that storing them costs."""
    real = torch.from_numpy(mixture(500, 64, std=0.1)[0]) + offset
    fake = torch.from_numpy(mixture(400, 64, std=0.1, kept=15, seed=1)[0]) + offset
    assert four(prdc(real=real, fake=fake)) == pytest.approx(fast_prdc(real, fake, 5), abs=1e-12)


@pytest.mark.parametrize("offset", [0, 3000])
def test_large_sets_are_exact(offset):
    """Over more than one block, too, every pair is decided as in float64."""
    real = torch.from_numpy(mixture(1500, 64)[0]) + offset
    fake = torch.from_numpy(mixture(1100, 64, kept=15, seed=1)[0]) + offset
    assert four(prdc(real=real, fake=fake)) == pytest.approx(fast_prdc(real, fake, 5), abs=1e-12)


def test_tight_clusters_far_apart_are_exact():
    """A ring whose modes are narrower than float32 distances resolve still gets the float64 answer."""
    rng = np.random.default_rng(0)
    angles = 2 * np.pi * rng.integers(0, 8, 2400) / 8
    rows = np.c_[np.cos(angles), np.sin(angles)] + 1e-4 * rng.normal(size=(2400, 2))
    real, fake = rows[:1300].astype(np.float32), rows[1300:].astype(np.float32)
    assert four(prdc(real=real, fake=fake)) == pytest.approx(fast_prdc(real, fake, 5), abs=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, tile=st.integers(1, 70))
def test_tile_size_and_row_order_do_not_matter(seed, tile):
    """Any tile, and any order of the rows of either set, give the same four numbers."""
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(60, 4)), rng.normal(size=(45, 4))
    expected = four(prdc(real=real, fake=fake))
    assert four(prdc(real=real, fake=fake, tile=tile)) == expected
    assert four(prdc(real=rng.permutation(real), fake=rng.permutation(fake), tile=tile)) == expected


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_rotation_does_not_matter(seed):
    """Rotating both sets alike changes nothing: only distances count."""
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(50, 6)), rng.normal(size=(40, 6))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert four(prdc(real=real @ turn, fake=fake @ turn)) == four(prdc(real=real, fake=fake))


@settings(max_examples=15, deadline=None)
@given(seed=seeds, n=st.integers(10, 50), m=st.integers(10, 50))
def test_swapping_roles_swaps_precision_and_recall(seed, n, m):
    """Recall is precision with the roles exchanged."""
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) + 0.5
    one, other = prdc(real=real, fake=fake), prdc(real=fake, fake=real)
    assert (one.precision, one.recall) == (other.recall, other.precision)


@pytest.mark.parametrize("d", [2, 64])
def test_missing_modes_lower_recall_and_coverage_but_not_precision(d):
    """With 15 of 25 modes left, coverage and recall fall to about 0.6 of a perfect generator's, precision stays."""
    real, _ = mixture(900, d, std=0.05 if d == 2 else 0.5)
    perfect, _ = mixture(900, d, std=0.05 if d == 2 else 0.5, seed=1)
    collapsed, _ = mixture(900, d, std=0.05 if d == 2 else 0.5, seed=2, kept=15)
    null, found = prdc(real=real, fake=perfect), prdc(real=real, fake=collapsed)
    assert found.coverage / null.coverage == pytest.approx(0.6, abs=0.1)
    assert found.recall / null.recall == pytest.approx(0.6, abs=0.15)
    assert found.precision == pytest.approx(null.precision, abs=0.06)


def test_shrunken_modes_raise_density_and_are_invisible_to_coverage():
    """All modes at a tenth of their spread: coverage and precision read perfect; density and recall see it."""
    real, _ = mixture(900, 64)
    shrunken, _ = mixture(900, 64, std=0.05, seed=1)
    found = prdc(real=real, fake=shrunken)
    assert found.coverage > 0.99
    assert found.precision == 1.0
    assert found.density > 5
    assert found.recall < 0.01


def test_the_vectors_are_what_the_numbers_are_means_of():
    """Each number is the mean of its vector, so that a bootstrap over the vector is one over the number."""
    real, fake = mixture(80, 8)[0], mixture(60, 8, seed=1)[0]
    found = prdc(real=real, fake=fake, k=3)
    assert found.in_real.shape == found.fake_in.shape == (60,)
    assert found.in_fake.shape == found.covered.shape == (80,)
    assert found.in_real.double().mean().item() == found.precision
    assert found.in_fake.double().mean().item() == found.recall
    assert found.covered.double().mean().item() == found.coverage
    assert found.fake_in.double().mean().item() / 3 == pytest.approx(found.density)
    assert torch.equal(found.in_real, found.fake_in > 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_the_cpu_answer():
    """Same numbers from tensors on the device, fakes left on the CPU included."""
    real, fake = torch.from_numpy(mixture(1500, 64)[0]), torch.from_numpy(mixture(1100, 64, seed=1)[0])
    here, there = prdc(real=real, fake=fake), prdc(real=real.cuda(), fake=fake)
    assert four(there) == four(here)
    assert there.covered.device.type == "cpu"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_dtypes(dtype):
    """Any real dtype is read; narrow ones are widened first."""
    x = (torch.arange(60).reshape(20, 3) % 7).to(dtype)
    assert four(prdc(real=x, fake=x)) == four(prdc(real=x.double(), fake=x.double()))


def test_gradients_and_inputs_are_left_alone():
    """Inputs that want a gradient are accepted and not changed."""
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    before = x.detach().clone()
    assert not prdc(real=x, fake=x).covered.requires_grad
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("real", "fake", "says"),
    [
        (np.zeros((9, 2)), np.zeros((9, 3)), "2 columns and fake has 3"),
        (np.zeros((5, 2)), np.zeros((9, 2)), "real has 5 rows, and this needs at least 6"),
        (np.zeros((9, 2)), [[0.0, 1.0]], "fake has 1 rows"),
        (np.zeros(9), np.zeros((9, 2)), "real must be 2-D"),
        ([1.0, 2.0], [[1.0]], "real must be 2-D"),
        ([[1.0, 2.0], [3.0]], [[1.0]], "real cannot be read"),
        (np.zeros((9, 2, 2)), np.zeros((9, 4)), "flatten each sample"),
        (np.zeros((9, 0)), np.zeros((9, 0)), "must be 2-D"),
        (np.zeros((9, 2)), np.r_[np.zeros((8, 2)), [[np.nan, 0]], [[0, np.inf]]], "rows 8, 9;"),
        (torch.full((20, 2), torch.nan), np.zeros((9, 2)), "rows 0, 1, 2, 3, 4, 5, 6, 7 and 12 more"),
        (np.zeros((9, 2), dtype=complex), np.zeros((9, 2)), "complex"),
        (np.array([["a"] * 2] * 9), np.zeros((9, 2)), "cannot be read"),
    ],
)
def test_unusable_inputs_are_refused_in_words(real, fake, says):
    """Whatever is wrong with the rows, the error is a ShapeError that names it, under a type checker as well."""
    with pytest.raises(ShapeError, match=says):
        prdc(real=real, fake=fake)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"tile": 0}])
def test_unusable_options_are_refused(wrong):
    """No neighbour and no tile are asked for by mistake only."""
    with pytest.raises(UsageError, match="at least 1"):
        prdc(real=np.zeros((9, 2)), fake=np.zeros((9, 2)), **wrong)


def test_roles_are_named():
    """Nobody can swap real and fake by position."""
    with pytest.raises(TypeError):
        prdc(np.zeros((9, 2)), np.zeros((9, 2)))


def test_read_only_and_reversed_arrays_are_read():
    """Memory-mapped (read-only) rows and reversed views are as good as any."""
    x = np.random.default_rng(0).normal(size=(20, 2))
    frozen = x.copy()
    frozen.flags.writeable = False
    assert four(prdc(real=frozen, fake=x[::-1])) == four(prdc(real=x, fake=x))


def test_the_shorthands_agree():
    """`precision` and `recall` are the fields of `prdc`, and the package's `prdc` is the function, not its module."""
    real, fake = mixture(60, 8)[0], mixture(60, 8, seed=1)[0]
    found = prdc_function(real=real, fake=fake)
    assert precision(real=real, fake=fake) == found.precision
    assert recall(real=real, fake=fake) == found.recall
