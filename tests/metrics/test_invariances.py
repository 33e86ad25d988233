"""What must not change a metric, over all of them: a new metric is held to it by being found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.mixtures import mixture

from gandiag.metrics import METRICS, prdc

N = 40
Array = np.ndarray
Change = Callable[[Array, np.random.Generator], Array]


def moved(rows: Array, rng: np.random.Generator) -> Array:
    return rows + 10 * rng.normal(size=rows.shape[1])


def turned(rows: Array, rng: np.random.Generator) -> Array:
    return rows @ np.linalg.qr(rng.normal(size=(rows.shape[1],) * 2))[0]


def scaled(rows: Array, rng: np.random.Generator) -> Array:
    return rows * np.exp(rng.normal())


def widened(rows: Array, rng: np.random.Generator) -> Array:
    return np.c_[rows, np.zeros((len(rows), 3))]


CHANGES: dict[str, tuple[Change, set[str]]] = {
    "translation": (moved, {"kid"}),  # its kernel has an origin
    "rotation": (turned, set()),
    "scaling": (scaled, {"kid", "frechet"}),  # a power of the rows' own unit
    "columns of zeros": (widened, {"kid"}),  # its kernel divides by their number
}
OF_ORDER = {"ndb", "modes_captured"}
"""They draw rows of the data by number: half of them for the bins, and one after the other for communities."""


def sets(seed: int, d: int) -> tuple[Array, Array]:
    """Data, and fakes of half of their modes, some of which repeat each other or copy data."""
    real, fake = (mixture(N, d, seed=seed + part, kept=kept)[0].astype(np.float64) for part, kept in ((0, 25), (1, 12)))
    fake[:5], fake[5:10] = real[:5], fake[10:15]
    return real, fake


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", METRICS.names())
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31), d=st.integers(1, 8))
def test_the_frame_of_reference_changes_nothing(name: str, change: str, seed: int, d: int) -> None:
    """Data and fakes moved, turned, stretched or embedded together read the same, but for what is said above."""
    made, exempt = CHANGES[change]
    if name in exempt:
        return
    real, fake = sets(seed, d)
    there = made(np.concatenate([real, fake]), np.random.default_rng(seed))
    before, after = METRICS[name](real=real, fake=fake), METRICS[name](real=there[:N], fake=there[N:])
    assert after == pytest.approx(before, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", METRICS.names())
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31), d=st.integers(1, 8))
def test_the_order_of_rows_changes_nothing(name: str, seed: int, d: int) -> None:
    """Sets have no order: any of the fakes, and for most metrics any of the data."""
    real, fake = sets(seed, d)
    rng = np.random.default_rng(seed)
    shuffled = real if name in OF_ORDER else rng.permutation(real)
    before = METRICS[name](real=real, fake=fake)
    after = METRICS[name](real=shuffled, fake=rng.permutation(fake))
    assert after == pytest.approx(before, rel=1e-6, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), d=st.sampled_from([16, 64]), kept=st.integers(3, 14))
def test_collapse_onto_real_modes_lowers_recall_and_coverage_and_not_precision(seed: int, d: int, kept: int) -> None:
    """Fakes of some of 25 modes that lie apart: less of the data is reached, and nothing is off them."""
    real, full, some = (mixture(250, d, seed=seed + part, kept=k)[0] for part, k in ((0, 25), (1, 25), (2, kept)))
    whole, collapsed = prdc(real=real, fake=full), prdc(real=real, fake=some)
    assert collapsed.coverage < whole.coverage
    assert collapsed.recall < whole.recall
    assert collapsed.precision > whole.precision - 0.1
