"""`score` on data that are no cloud of points: copies, categories, long tails, modes with other shares."""

from __future__ import annotations

import numpy as np
import pytest

import gandiag
from gandiag.metrics import RealReference
from gandiag.score import judge

Array = np.ndarray


def constant(rng: np.random.Generator, n: int) -> Array:
    return np.full((n, 6), 0.3, dtype=np.float32)


def one_hot(rng: np.random.Generator, n: int) -> Array:
    return np.eye(5, dtype=np.float32)[rng.integers(0, 5, n)]


def binary(rng: np.random.Generator, n: int) -> Array:
    return (rng.random((n, 6)) < 0.5).astype(np.float32)


def points(rng: np.random.Generator, n: int) -> Array:
    """Three quarters are copies of six points, the rest is a normal cloud."""
    kind, rows = rng.integers(0, 8, n), rng.normal(size=(n, 7))
    rows[kind < 6] = 3 * np.random.default_rng(3).normal(size=(6, 7))[kind[kind < 6]]
    return rows.astype(np.float32)


@pytest.mark.parametrize("make", [constant, one_hot, binary, points])
@pytest.mark.parametrize("seed", [0, 1])
def test_data_that_repeat_themselves_are_not_called_different_from_data(make, seed):
    """Equal rows, categories, coin flips and point masses against more of the same: nothing is found."""
    rng = np.random.default_rng(seed)
    scores = gandiag.score(real=make(rng, 600), fake=make(rng, 250))
    assert scores.reading.names == ()
    if scores.modes is not None:
        assert scores.modes.unassigned_share < 0.02


def test_a_lost_category_is_missing():
    """Of five one-hot categories two are never generated, by clusters as by labels."""
    rng = np.random.default_rng(0)
    classes, made = rng.integers(0, 5, 600), rng.integers(0, 3, 250)
    rows = np.eye(5, dtype=np.float32)
    for labels in (None, classes):
        scores = gandiag.score(real=rows[classes], fake=rows[made], labels=labels)
        assert scores.reading.names[0] == "modes missing"
        assert "2 of 5 modes" in scores.reading.sentence


@pytest.mark.parametrize("law", ["lognormal", "t2"])
def test_long_tails_are_not_called_different(law):
    """Of 12 sets of data with long tails against more of the same, none is called anything."""

    def draw(seed: int) -> Array:
        rng = np.random.default_rng(seed)
        rows = np.exp(rng.normal(size=(200, 8))) if law == "lognormal" else rng.standard_t(2, size=(200, 4))
        return rows.astype(np.float32)

    for seed in range(0, 36, 3):
        reference = RealReference(real=draw(seed), held_out=draw(seed + 1), spectral=False)
        assert judge(reference.measure(draw(seed + 2), draws=2)).names == ()


@pytest.mark.parametrize("labelled", [True, False])
def test_wrong_shares_have_a_name_before_they_are_extreme(labelled):
    """Four modes at 35, 15, 35 and 15 % in the place of a quarter each: the two that lack samples are told."""
    rng = np.random.default_rng(0)
    centres = 4 * rng.normal(size=(4, 16))

    def draw(n: int, shares: list[float]) -> tuple[Array, Array]:
        modes = rng.choice(4, n, p=shares)
        return (centres[modes] + rng.normal(size=(n, 16))).astype(np.float32), modes

    (real, classes), (fake, _) = draw(1200, [0.25] * 4), draw(600, [0.35, 0.15, 0.35, 0.15])
    scores = gandiag.score(real=real, fake=fake, labels=classes if labelled else None)
    assert scores.reading.names == ("modes under-represented",)
    assert "2 of 4 modes are generated too rarely" in scores.reading.sentence
    assert "2 of 4 modes are generated too often" in scores.reading.sentence


@pytest.mark.parametrize("seed", range(3))
def test_a_tenth_of_copies_is_memorised(seed):
    """Every tenth sample copies one of the data, which are halved: one in 20 is found to, and that has its name."""
    rng = np.random.default_rng(seed)
    real, fake = (rng.normal(size=(n, 16)).astype(np.float32) for n in (1000, 400))
    fake[:40] = real[:40]
    assert gandiag.score(real=real, fake=fake).reading.names == ("memorised",)


def test_classes_may_have_names():
    """Labels of strings, booleans and large unsigned numbers are classes as well, and a note says which is which."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, 300)
    real = (8 * classes[:, None] + rng.normal(size=(300, 3))).astype(np.float32)
    fake = rng.normal(size=(100, 3)).astype(np.float32)
    for labels in (np.array(["dog", "cat"])[classes], [["dog", "cat"][c] for c in classes], classes.astype(bool)):
        scores = gandiag.score(real=real, fake=fake, labels=labels)
        assert scores.modes.source == "labels"
        assert [mode.state for mode in scores.modes.modes].count("missing") == 1
        named = isinstance(labels, list) or labels.dtype.kind == "U"
        assert ("classes were numbered in order: 0 is cat, 1 is dog" in scores.notes) == named
    huge = np.array([2**63 + 1, 5], dtype=np.uint64)[classes]
    assert [mode.id for mode in gandiag.score(real=real, fake=fake, labels=huge).modes.modes] == [0, 1]


@pytest.mark.parametrize("scale", [1e18, 1e30, 1e37])
def test_huge_values_are_measured_without_a_warning(scale):
    """Squares and cubes of them leave float64, and what comes out is what comes out of small ones."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(200, 4)), rng.normal(size=(100, 4))
    small, large = gandiag.score(real=real, fake=fake), gandiag.score(real=scale * real, fake=scale * fake)
    assert large.reading == small.reading
    assert large.metrics["coverage"] == small.metrics["coverage"]
