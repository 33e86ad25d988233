"""The name of a failure, from metrics beside their nulls."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from references.holm import holm as slow_holm
from references.mixtures import grid, mixture

from gandiag.metrics import Measure, ModeTable, RealReference, assign, find_modes, mode_table
from gandiag.score import judge
from gandiag.score.chance import holm, p_value
from gandiag.score.phrases import MODES

N, D = 500, 64
CENTRES = np.random.default_rng(12345).normal(size=(25, D))


class Held:
    """Data of 25 modes, and what is read of fakes that are held against them."""

    def __init__(self) -> None:
        self.real, self.held_out = mixture(N, D, seed=1)[0], mixture(N, D, seed=2)[0]
        self.reference = RealReference(real=self.real, held_out=self.held_out)
        self.all = np.concatenate([self.real, self.held_out])
        self.labels = find_modes(self.all)

    def measured(self, fake: np.ndarray) -> tuple[dict[str, Measure], ModeTable]:
        theirs = assign(real=self.all, real_labels=self.labels, fake=fake)
        table = mode_table(real=self.all, real_labels=self.labels, fake=fake, fake_labels=theirs, source="clusters")
        return self.reference.measure(fake), table


@pytest.fixture(scope="module")
def held() -> Held:
    return Held()


def draw(shares: dict[range, float] | None = None, *, std: float = 0.5, n: int = N) -> np.ndarray:
    """Fakes [n, D] of the 25 modes, some of them with another share than the others' 1."""
    weights = np.ones(25)
    for modes, share in (shares or {}).items():
        weights[list(modes)] = share
    rng = np.random.default_rng(3)
    modes = rng.choice(25, n, p=weights / weights.sum())
    return (CENTRES[modes] + std * rng.normal(size=(n, D))).astype(np.float32)


def noise(n: int) -> np.ndarray:
    return (3 * np.random.default_rng(4).normal(size=(n, D))).astype(np.float32)


FAKES = {
    "perfect": (lambda held: draw(), ()),
    "ten modes dropped": (lambda held: draw({range(15, 25): 0}), ("modes missing",)),
    "ten modes at 0.1 %": (lambda held: draw({range(15): 0.99 / 15, range(15, 25): 0.001}), ("modes missing",)),
    "ten modes at a third": (lambda held: draw({range(15, 25): 0.3}), ("modes under-represented",)),
    "half as wide": (lambda held: draw(std=0.25), ("modes shrunken",)),
    "a tenth narrower": (lambda held: draw(std=0.45), ("modes shrunken",)),
    "dropped and narrow": (lambda held: draw({range(15, 25): 0}, std=0.25), ("modes missing", "modes shrunken")),
    "one point": (lambda held: np.repeat(CENTRES[:1], N, 0), ("few outputs (point collapse)",)),
    "each mode nearly a point": (lambda held: draw(std=0.02), ("modes shrunken",)),
    "a third is one point": (
        lambda held: np.r_[np.repeat(CENTRES[:1], N // 3, 0), draw(n=N - N // 3)],
        ("few outputs (point collapse)",),
    ),
    "fifty reals": (lambda held: held.real[np.arange(N) % 50], ("few outputs (point collapse)", "memorised")),
    "the training set": (lambda held: held.real.copy(), ("memorised",)),
    "noise": (lambda held: noise(N), ("junk",)),
    "a tenth is noise": (lambda held: np.r_[noise(N // 10), draw(n=N - N // 10)], ("junk",)),
    "too wide": (lambda held: draw(std=0.6), ("junk",)),
    "half noise, ten dropped": (
        lambda held: np.r_[noise(N // 2), draw({range(15, 25): 0}, n=N // 2)],
        ("modes missing", "junk"),
    ),
}


@pytest.mark.parametrize("name", FAKES)
def test_each_failure_has_its_name(held: Held, name: str) -> None:
    """Failures of a known kind are named, alone or together, and a perfect generator is not."""
    make, names = FAKES[name]
    reading = judge(*held.measured(np.asarray(make(held), dtype=np.float32)))
    assert reading.names == names
    assert len(reading.because) == len(names)
    assert all(name in reading.sentence.lower() for name in names)


@pytest.mark.parametrize("name", ["perfect", "ten modes dropped", "half as wide", "one point", "the training set"])
def test_most_names_need_no_modes(held: Held, name: str) -> None:
    """Where data have no modes, the metrics alone say the same."""
    make, names = FAKES[name]
    reading = judge(held.reference.measure(np.asarray(make(held), dtype=np.float32)))
    assert reading.names == names


@pytest.mark.parametrize(
    ("std", "kept", "names"),
    [
        (0.02, 25, ("modes shrunken",)),
        (0.008, 25, ("modes shrunken",)),
        (0.02, 15, ("modes missing", "modes shrunken")),
        (0.05, 1, ("modes missing",)),
        (0.0, 5, ("few outputs (point collapse)",)),
    ],
)
def test_in_a_plane_dense_samples_are_not_few_outputs(std: float, kept: int, names: tuple[str, ...]) -> None:
    """In two dimensions, samples of narrow modes, or of a single one, come close to each other for no other reason."""
    real, held_out = grid(1000, seed=1)[0], grid(1000, seed=2)[0]
    modes = np.random.default_rng(3).integers(0, kept, 1000)
    spots = np.array([(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)])
    fake = (spots[modes] + std * np.random.default_rng(4).normal(size=(1000, 2))).astype(np.float32)
    every = np.concatenate([real, held_out])
    labels = find_modes(every)
    theirs = assign(real=every, real_labels=labels, fake=fake)
    table = mode_table(real=every, real_labels=labels, fake=fake, fake_labels=theirs, source="clusters")
    reading = judge(RealReference(real=real, held_out=held_out).measure(fake), table)
    assert reading.names == names


def test_the_sentence_has_the_figures(held: Held) -> None:
    """How many modes, and how much of the data and of the samples."""
    reading = judge(*held.measured(draw({range(15, 25): 0})))
    assert reading.sentence.startswith("Modes missing: 10 of 25 modes are never or almost never generated (")
    assert "0 % of the samples" in reading.sentence
    assert str(reading) == reading.sentence
    assert {"coverage", "recall", MODES} <= set(reading.different)


@pytest.mark.parametrize("d", [2, 64])
def test_data_are_seldom_called_different_from_data(d: int) -> None:
    """Of 25 fresh sets of data at most two are called anything; they are 2 % in the long run."""
    false = 0
    for seed in range(25):
        real, held_out, fake = (mixture(300, d, seed=100 + 3 * seed + part)[0] for part in range(3))
        false += bool(judge(RealReference(real=real, held_out=held_out).measure(fake)).names)
    assert false <= 2


def measure(value: float, null: float, *, half: float = 0.02, p: float = 1e-9, n: int = 500) -> Measure:
    return Measure(
        value=value,
        low=value - half,
        high=value + half,
        null=null,
        null_low=null - half,
        null_high=null + half,
        p_value=p,
        n_real=n,
        n_fake=n,
    )


@pytest.mark.parametrize("spread", [1.0, 0.99, None])
def test_modes_that_did_not_shrink_are_not_called_so(held: Held, spread: float | None) -> None:
    """Recall is low, density as of data, and modes as wide as the data's or not known: that is not shrinking."""
    table = held.measured(draw())[1]
    if spread is not None:
        table = replace(table, modes=tuple(replace(mode, spread_ratio=spread) for mode in table.modes))
    metrics = {"recall": measure(0.7, 0.95), "density": measure(1.02, 1.0, p=0.8)}
    assert judge(metrics, None if spread is None else table).names == ("unlike the data",)
    metrics["density"] = measure(1.2, 1.0)
    assert judge(metrics, None if spread is None else table).names == (
        ("modes shrunken",) if spread is None else ("unlike the data",)
    )


def test_a_difference_without_a_name_is_said() -> None:
    """A kernel distance that is far off alone is neither a known failure nor no difference."""
    reading = judge({"coverage": measure(0.97, 0.97, p=1.0), "kid": measure(0.9, 0.0)})
    assert reading.names == ("unlike the data",)
    assert "kid (0.9, where data would read 0)" in reading.sentence


def test_nothing_measured_is_not_no_difference() -> None:
    """Without a metric it says that nothing was measured."""
    assert "nothing was measured" in judge({}).sentence


def test_a_lost_part_smaller_than_the_modes_is_missing(held: Held) -> None:
    """Coverage is low and each mode has its share: what is lost lies within modes."""
    table = held.measured(draw())[1]
    metrics = {"coverage": measure(0.8, 0.97), "precision": measure(0.9, 0.9, p=1.0)}
    reading = judge(metrics, table)
    assert reading.names == ("modes missing",)
    assert "about 18 % of the data" in reading.sentence


def test_modes_that_are_too_frequent_are_told(held: Held) -> None:
    """A mode with eight times its share is why the others have too little, and is said."""
    reading = judge(*held.measured(draw({range(1): 8.0})))
    assert reading.names == ("modes under-represented",)
    assert "1 of 25 modes is generated too often" in reading.sentence


def test_one_mode_is_no_table(held: Held) -> None:
    """Shares of a single mode say nothing, and its p-value is not counted among those looked at."""
    table = held.measured(draw())[1]
    single = replace(table, modes=table.modes[:1])
    assert judge({"coverage": measure(0.97, 0.97, p=1.0)}, single).different == ()


def test_holm_is_the_closed_test() -> None:
    """The adjusted p-values equal those of the test of all intersections."""
    rng = np.random.default_rng(0)
    for count in range(1, 7):
        p = {str(index): float(value) for index, value in enumerate(rng.random(count) ** 3)}
        assert holm(p) == pytest.approx(slow_holm(p), rel=1e-12)


def test_holm_of_nothing_is_nothing() -> None:
    """No metric, no adjusted p-value."""
    assert holm({}) == {}


def test_long_tails_make_p_values_larger_only() -> None:
    """Shares near 1 and the kernel distance get larger p-values, density keeps its own, what is missing gets 1."""
    near_one = replace(measure(0.978, 0.9947, half=0.0087, p=2e-4), null_high=1.0)
    assert p_value("recall", near_one) == pytest.approx(0.0136, rel=0.5)
    assert p_value("kid", measure(0.1, 0.0, p=1e-12)) == pytest.approx(1e-4, rel=0.01)
    assert p_value("kid", measure(-0.1, 0.0, p=1e-12)) == 1e-12
    assert p_value("density", measure(3.0, 1.0)) == 1e-9
    assert p_value("coverage", measure(math.nan, 0.97)) == 1.0
    assert p_value("coverage", measure(0.5, 0.97, half=0.0, p=0.25)) == 0.25
    assert p_value("duplicates", measure(1.0, 0.0)) < 1e-6
