"""Pairs of different rows, drawn at random without repetition, or all of them: for what is too dear for every pair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gandiag.errors import UsageError


def some_pairs(labels: NDArray[np.int64], *, pairs: int, seed: int) -> NDArray[np.int64]:
    """Draw pairs of two rows of one class, each pair at most once, all equally likely.

    Args:
        labels: `[n]` class of each row; rows below 0 are in no class and in no pair.
        pairs: how many are wanted; all there are, where there are no more.
        seed: of a generator that nobody shares; no global random stream is touched.

    Returns:
        `[p, 2]` indices, the smaller one first; the same for the same labels, `pairs` and `seed`.

    Raises:
        UsageError: `pairs` is below 1, or no two rows are of one class.
    """
    if pairs < 1:
        raise UsageError(f"pairs must be at least 1, got {pairs}")
    order = np.argsort(labels, kind="stable")[int((labels < 0).sum()) :]
    _, first, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    ends = np.cumsum(sizes * (sizes - 1) // 2)
    total = int(ends[-1]) if len(ends) else 0
    if total == 0:
        raise UsageError(f"no two of {len(labels)} rows make a pair; give at least two, and two of one class")
    if total <= pairs:
        chosen = np.arange(total)
    else:
        chosen = np.sort(np.random.default_rng(seed).choice(total, pairs, replace=False, shuffle=False))
    group = np.searchsorted(ends, chosen, side="right")
    low, high = _numbered(chosen - (ends - sizes * (sizes - 1) // 2)[group])
    found: NDArray[np.int64] = np.stack([order[first[group] + low], order[first[group] + high]], axis=1)
    return found


def _numbered(number: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs (0, 1), (0, 2), (1, 2), (0, 3), ... of those numbers."""
    high = ((1 + np.sqrt(1 + 8 * number)) / 2).astype(np.int64)
    high -= high * (high - 1) // 2 > number  # the root may round up to the next whole number
    return number - high * (high - 1) // 2, high
