"""NDB, support and pair diversity beside their nulls."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from references.mixtures import mixture

from gandiag.errors import ShapeError
from gandiag.metrics import _further as module
from gandiag.metrics import ndb, pair_distance, pair_diversity, support
from gandiag.metrics._further import further
from gandiag.metrics.diversity import distance_from_others


def some(seed: int, *, n: int = 300, d: int = 8, std: float = 0.5, kept: int = 25) -> np.ndarray:
    return mixture(n, d, seed=seed, std=std, kept=kept)[0]


def test_values_are_those_of_the_functions():
    """Each value is what the metric says of the same rows."""
    real, held_out, fake = some(0), some(1), some(2, n=200, kept=10)
    found = further(real=real, held_out=held_out, fake=fake)
    assert found["ndb"].value == ndb(real=real, held_out=held_out, fake=fake).share
    assert found["support"].value == support(real=real, fake=fake).low
    assert found["pair_diversity"].value == pytest.approx(pair_diversity(real=real, fake=fake))


@pytest.mark.parametrize("tile", [7, 1000])
def test_distance_from_others_is_the_mean_of_all_pairs(tile):
    """Row by row, and together the pair distance."""
    rows = torch.from_numpy(some(0, n=30))
    slow = [np.mean([(rows[i] - rows[j]).norm() for j in range(30) if j != i]) for i in range(30)]
    assert distance_from_others(rows, tile=tile).numpy() == pytest.approx(slow, rel=1e-6)
    assert pair_distance(rows, tile=tile) == pytest.approx(np.mean(slow), rel=1e-6)


@pytest.mark.parametrize("d", [2, 16])
def test_a_perfect_generator_is_inside_its_null(d):
    """Of 40 perfect generators at most five have a p below 5 %, by any of the three."""
    beyond = dict.fromkeys(("ndb", "support", "pair_diversity"), 0)
    for seed in range(0, 120, 3):
        found = further(real=some(seed, d=d), held_out=some(seed + 1, d=d), fake=some(seed + 2, d=d))
        for name, measure in found.items():
            beyond[name] += measure.p_value < 0.05
    assert max(beyond.values()) <= 5, beyond


def test_failures_leave_the_null():
    """Missing modes show in the bins, few outputs in the support, narrow modes in the diversity."""
    real, held_out = some(0), some(1)
    missing = further(real=real, held_out=held_out, fake=some(2, kept=10))
    assert missing["ndb"].p_value < 0.01
    drawn = np.random.default_rng(0).integers(0, 50, 300)
    few = further(real=real, held_out=held_out, fake=some(2)[drawn])["support"]
    assert few.p_value < 1e-6
    assert 40 < few.low < 50 < few.high
    narrow = further(real=real, held_out=held_out, fake=some(2, std=0.2))["pair_diversity"]
    assert narrow.p_value < 1e-4
    assert narrow.high < narrow.null_low


def test_data_of_one_point_have_no_diversity_to_compare_with():
    """Where no two reals differ the ratio is not known, and nothing is divided by 0."""
    still = np.zeros((40, 3))
    found = further(real=still, held_out=still, fake=still)
    assert math.isnan(found["pair_diversity"].value)
    assert found["support"].p_value == found["ndb"].p_value == 1


def test_no_more_rows_than_needed_are_looked_at(monkeypatch):
    """Of larger sets a random part is, the same one for the same seed."""
    monkeypatch.setattr(module, "ROWS", 100)
    found = further(real=some(0), held_out=some(1), fake=some(2))
    assert (found["ndb"].n_fake, found["support"].n_real) == (100, 100)
    assert found == further(real=some(0), held_out=some(1), fake=some(2)) or math.isnan(found["ndb"].low)
    with pytest.raises(ShapeError, match="2 rows"):
        further(real=some(0), held_out=some(1), fake=some(2, n=2))
