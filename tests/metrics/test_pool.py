"""Splits of a pool, read from lists of neighbours, against a pass over the very rows of each split."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references.mixtures import mixture, ring
from references.neighbours import comparison

from gandiag.metrics import RealSide
from gandiag.metrics._pool import FAKE, REAL, Pool, list_length

EXACT = (*comparison([[0.0], [1.0]], [[2.0], [3.0]], 1), "holding_clipped_real")
KERNEL = ("kernel_real", "kernel_fake", "kernel_of_real", "kernel_of_fake")


def roles(rows: int, *, real: int, fake: int, splits: int = 3) -> torch.Tensor:
    rng = np.random.default_rng(0)
    parts = np.zeros((splits, rows), dtype=np.int8)
    for split in parts:
        order = rng.permutation(rows)
        split[order[:real]], split[order[real : real + fake]] = REAL, FAKE
    return torch.from_numpy(parts)


def both(x, parts: torch.Tensor, split: int):
    """The same split read from lists, and measured."""
    x = torch.as_tensor(x)
    return Pool(x, parts).split(split), RealSide(x[parts[split] == REAL]).against(x[parts[split] == FAKE])


def alike(found, expected, name: str) -> float:
    """The share of rows with equal answers."""
    return (getattr(found, name) == getattr(expected, name)).double().mean().item()


@pytest.mark.parametrize(("real", "fake"), [(300, 300), (350, 250), (200, 60)])
@pytest.mark.parametrize("d", [2, 16, 128])
def test_equals_a_pass_over_the_parts(d, real, fake):
    """Halves, unequal parts, and parts that leave rows over: of 100 answers about a row, 99 are the pass's own."""
    parts = roles(600, real=real, fake=fake)
    for split in range(3):
        found, expected = both(mixture(600, d)[0], parts, split)
        for name in EXACT:
            assert alike(found, expected, name) >= 0.99, name
        for name in KERNEL:
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-3)


def test_ties_and_repetitions():
    """On a lattice, and where each row is there three times, ties count as inside, as they do in a pass."""
    rng = np.random.default_rng(0)
    for x in (rng.integers(0, 3, size=(600, 4)).astype(np.float32), np.tile(mixture(200, 8)[0], (3, 1))):
        found, expected = both(x, roles(600, real=300, fake=300), 0)
        for name in comparison(x[:9], x[:9], 2):
            assert alike(found, expected, name) >= 0.99, name


def test_tight_modes_are_looked_at_in_float64():
    """Modes so narrow that float32 products blur them are still told apart."""
    found, expected = both(ring(600, std=1e-4)[0], roles(600, real=300, fake=300), 0)
    assert torch.equal(found.fakes_in, expected.fakes_in)
    assert torch.equal(found.reached, expected.reached)


def test_repetitions_in_a_plane_are_counted_as_in_a_pass():
    """Rows that nearly repeat each other are so near that float32 products would take many more for that."""
    x = mixture(3000, 2)[0]
    for split in range(2):
        found, expected = both(x, roles(3000, real=1500, fake=1500), split)
        for name in ("repeats_fake", "repeats_real", "repeated"):
            assert alike(found, expected, name) > 0.999, name


def test_lists_are_long_enough():
    """Of a million rows in a part with such a share, less than one finds fewer than k of its own in its list."""
    from scipy.stats import binom

    for k in (1, 5, 20):
        for share in (0.5, 0.2, 0.05):
            assert binom.cdf(k - 1, list_length(k, share), share) < 1e-6
