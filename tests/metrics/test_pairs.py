"""Pairs of rows, drawn without repetition."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gandiag.errors import UsageError
from gandiag.metrics._pairs import some_pairs


def drawn(labels, **options):
    return [tuple(pair) for pair in some_pairs(np.array(labels, dtype=np.int64), **options).tolist()]


@settings(max_examples=50, deadline=None)
@given(labels=st.lists(st.integers(-1, 4), min_size=2, max_size=30), wanted=st.integers(1, 200), seed=st.integers(0, 9))
def test_pairs_are_of_one_class_and_different(labels, wanted, seed):
    """Each pair at most once, two different rows of one class, as many as asked for or all there are."""
    every = {(i, j) for i, j in combinations(range(len(labels)), 2) if labels[i] == labels[j] >= 0}
    if not every:
        with pytest.raises(UsageError, match="give at least two"):
            drawn(labels, pairs=wanted, seed=seed)
        return
    found = [tuple(sorted(pair)) for pair in drawn(labels, pairs=wanted, seed=seed)]
    assert len(found) == len(set(found)) == min(wanted, len(every))
    assert set(found) <= every


def test_all_pairs_are_equally_likely():
    """Over many seeds each of ten pairs is drawn about as often as any other."""
    counts = Counter(pair for seed in range(2000) for pair in drawn([0] * 5, pairs=2, seed=seed))
    assert len(counts) == 10
    assert max(abs(count - 400) for count in counts.values()) < 100


def test_a_seed_decides():
    """The same seed draws the same pairs, another one others; nobody's random stream moves."""
    before = np.random.get_state()[1].copy()
    one, again, other = (drawn([0] * 100, pairs=50, seed=seed) for seed in (0, 0, 1))
    assert one == again != other
    assert (np.random.get_state()[1] == before).all()


def test_pairs_of_a_million_rows():
    """What cannot be listed can be drawn from, to the last pair: indices stay in range and in order."""
    low, high = some_pairs(np.zeros(1_000_000, dtype=np.int64), pairs=100_000, seed=0).T
    assert (low < high).all()
    assert high.max() < 1_000_000
    assert high.max() > 999_000
    assert abs(low.mean() / 1_000_000 - 1 / 3) < 0.01


def test_no_pairs_are_refused():
    """Less than one pair is a mistake."""
    with pytest.raises(UsageError, match="at least 1"):
        drawn([0, 0], pairs=0, seed=0)
