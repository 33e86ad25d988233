"""Every metric beside its null, with intervals that hold what they promise."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from references.mixtures import mixture

from gandiag.errors import ShapeError, UsageError
from gandiag.metrics import METRICS, RealReference, measure_all
from gandiag.metrics._intervals import Null, bootstrap, jackknife, share_error
from gandiag.metrics._measure import LONGEST
from gandiag.metrics._pool import list_length
from gandiag.metrics.kid import rows_that_count

NAMES = {
    *("precision", "recall", "density", "coverage", "clipped_density", "clipped_coverage"),
    *("kid", "frechet", "vendi", "duplicates", "copies"),
}
D = 16


def some(seed: int, *, n: int = 300, std: float = 0.5, kept: int = 25):
    return mixture(n, D, seed=seed, std=std, kept=kept)[0]


def outside(measure) -> bool:
    return not measure.null_low <= measure.value <= measure.null_high


def test_a_perfect_generator_is_inside_its_null():
    """Over 25 perfect generators no metric leaves its null interval in more than a fifth: 5 % is the promise."""
    left = dict.fromkeys(NAMES, 0)
    for seed in range(25):
        found = measure_all(real=some(seed), held_out=some(seed + 100), fake=some(seed + 200), draws=10)
        assert set(found) == NAMES
        for name, measure in found.items():
            left[name] += outside(measure)
    assert max(left.values()) <= 5, left
    assert sum(left.values()) / (25 * len(NAMES)) < 0.08


def test_missing_modes_leave_the_null():
    """With 15 of 25 modes left coverage, recall, Fréchet distance and Vendi score are outside; precision is not."""
    found = measure_all(real=some(0), held_out=some(1), fake=some(2, kept=15))
    assert {name for name in found if outside(found[name])} >= {"coverage", "recall", "frechet", "vendi"}
    assert not outside(found["precision"])
    assert found["coverage"].high < found["coverage"].null_low


def test_shrunken_modes_leave_the_null():
    """At half their spread density is above its null and recall below; coverage is not below."""
    found = measure_all(real=some(0), held_out=some(1), fake=some(2, std=0.25))
    assert found["density"].value > found["density"].null_high
    assert found["recall"].value < found["recall"].null_low
    assert found["coverage"].value >= found["coverage"].null_low


def test_point_collapse_leaves_the_null():
    """One output with a little noise: everything repeats."""
    noise = 1e-3 * np.random.default_rng(0).normal(size=(300, D))
    found = measure_all(real=some(0), held_out=some(1), fake=some(2)[:1] + noise)
    assert found["duplicates"].value == 1.0
    assert outside(found["duplicates"])


def test_memorisation_leaves_the_null():
    """Copies of the data pass for perfect everywhere but in `copies`."""
    found = measure_all(real=some(0), held_out=some(1), fake=some(0))
    assert found["copies"].value == 1.0
    assert outside(found["copies"])


def test_intervals_are_in_order_and_in_range():
    """low <= value <= high, null_low <= null <= null_high, all within what the metric can be."""
    for fake in (some(2), some(2, kept=3), np.zeros((40, D)), 1e6 * some(3)):
        for name, measure in measure_all(real=some(0), held_out=some(1), fake=fake, draws=20).items():
            assert measure.low <= measure.value <= measure.high, name
            assert measure.null_low <= measure.null <= measure.null_high, name
            for end in (measure.low, measure.high, measure.null_low, measure.null_high):
                assert METRICS[name].lo <= end <= METRICS[name].hi, name


@pytest.mark.parametrize(("held", "fakes", "used"), [(300, 120, 120), (120, 300, 120), (300, 300, 300)])
def test_unequal_sizes_are_made_equal(held, fakes, used):
    """Fakes and held-out reals are compared at the same size; it is reported."""
    found = measure_all(real=some(0), held_out=some(1, n=held), fake=some(2, n=fakes), draws=10)
    assert {(measure.n_real, measure.n_fake) for measure in found.values()} == {(300, used)}
    assert 0.8 < found["coverage"].value / found["coverage"].null < 1.1


def test_very_unequal_sizes_have_a_null_too():
    """Few fakes against many reals: lists for many splits would be too long, and passes take their place."""
    assert list_length(5, 24 / 700) > LONGEST
    found = measure_all(real=some(0, n=400), held_out=some(1), fake=some(2, n=24), draws=10)
    assert not any(outside(measure) for measure in found.values())
    assert 0 < found["coverage"].null < 1


def test_p_values_say_what_intervals_say():
    """A value outside its null's interval has a p below 5 %, one inside has not."""
    for fake in (some(2), some(2, kept=15), some(2, std=0.25)):
        found = measure_all(real=some(0), held_out=some(1), fake=fake, draws=10)
        assert {name for name, m in found.items() if m.p_value < 0.05} >= {n for n, m in found.items() if outside(m)}
        assert all(0 <= measure.p_value <= 1 for measure in found.values())
    assert found["density"].p_value < 1e-6


def test_cautions_name_what_makes_numbers_mean_little():
    """Too few rows for the dimensions, or for k; data that repeat themselves; fakes that were left out."""
    reference = RealReference(real=some(0), held_out=some(1))
    assert reference.cautions(some(2)) == ()
    (one,) = reference.cautions(some(2, n=400))
    assert "300 of the 400 fakes" in one
    few, k = RealReference(real=some(0, n=30), held_out=some(1, n=30), k=6).cautions(some(2, n=30))
    assert "below 32" in few
    assert "k = 6" in k
    assert "at least 70 generated samples, and 140 real ones" in k
    _, repeated = RealReference(real=np.tile(some(0, n=100), (3, 1)), held_out=some(1)).cautions(some(2))
    assert "100% of the data repeat" in repeated


def heavy(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(2, size=(200, 4)).astype(np.float32)


def test_a_kernel_distance_that_few_rows_decide_has_no_p():
    """Of data with long tails it has no p and says why; with short ones, or as rows near 1e200, it has one."""
    reference = RealReference(real=heavy(0), held_out=heavy(1), spectral=False)
    assert math.isnan(reference.measure(heavy(2), draws=2)["kid"].p_value)
    assert any("long tails" in caution for caution in reference.cautions(heavy(2)))
    assert measure_all(real=some(0), held_out=some(1), fake=some(2), spectral=False)["kid"].p_value > 0
    assert rows_that_count(torch.ones(50, 3)) == pytest.approx(50)
    assert rows_that_count(torch.tensor([[1e60], [0.0], [0.0]], dtype=torch.float64)) == pytest.approx(1)


def test_is_deterministic_and_touches_no_global_stream():
    """Same rows and seed, same numbers; whatever was measured before; the global random states stay."""
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()
    reference = RealReference(real=some(0), held_out=some(1), seed=5)
    reference.measure(some(9, n=150), draws=10)
    again = reference.measure(some(2), draws=10)
    assert again == measure_all(real=some(0), held_out=some(1), fake=some(2), draws=10, seed=5)
    assert again != measure_all(real=some(0), held_out=some(1), fake=some(2), draws=10, seed=6)
    np.testing.assert_array_equal(before, np.random.get_state()[1])
    assert torch.equal(torch_before, torch.get_rng_state())


def test_values_are_those_of_the_functions():
    """A measure's value is what the metric itself returns for the same rows."""
    found = measure_all(real=some(0), held_out=some(1), fake=some(2), draws=10)
    for name, measure in found.items():
        assert measure.value == pytest.approx(METRICS[name](real=some(0), fake=some(2)), rel=1e-9, abs=1e-6), name


def test_a_measure_is_strict_json():
    """Each measure becomes JSON with the fields that the command line promises."""
    found = measure_all(real=some(0), held_out=some(1), fake=some(2), draws=10)
    fields = json.loads(json.dumps(found["coverage"].to_json(), allow_nan=False))
    assert set(fields) == {"value", "low", "high", "null", "null_low", "null_high", "p_value", "n_real", "n_fake"}


def test_too_few_rows_and_splits_are_refused():
    """Each set needs enough rows for the groups of the jackknife, and an interval needs two splits."""
    with pytest.raises(ShapeError, match="fake has 9 rows"):
        measure_all(real=some(0), held_out=some(1), fake=some(2, n=9))
    with pytest.raises(UsageError, match="splits"):
        RealReference(real=some(0), held_out=some(1), splits=1)


def test_the_bootstrap_covers():
    """The 95 % interval of a mean holds the true mean in 88 to 100 % of 150 trials."""
    hits = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        low, high = bootstrap((rng.random(200) < 0.8).astype(float), draws=100, rng=rng)
        hits += low <= 0.8 <= high
    assert hits / 150 >= 0.88


def test_the_bootstrap_doubts_what_never_varied():
    """A share of 0 of 100 rows may be 3 %, the rule of three."""
    low, high = bootstrap(np.zeros(100), draws=10, rng=np.random.default_rng(0))
    assert (low, high) == pytest.approx((-0.03, 0.03))


def test_the_jackknife_of_a_mean_is_its_standard_error():
    """For a mean the jackknife's error is the textbook one."""
    x = np.random.default_rng(0).normal(size=400)
    groups = np.arange(400) % 40
    low, high = jackknife(x.mean(), lambda g: x[groups != g].mean(), groups=40)
    assert (high - low) / 2 == pytest.approx(2.02 * x.std() / 20, rel=0.3)


def test_the_prediction_covers():
    """One more value lies in the interval in 90 to 99 % of 400 trials, from eight values seen."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        *seen, new = rng.normal(size=9)
        null = Null.of(seen)
        low, high = null.interval()
        inside += low <= new <= high
        assert (null.p_value(new) >= 0.05) == (low <= new <= high)
    assert 0.90 <= inside / 400 <= 0.99


def test_the_error_of_a_share_is_never_zero():
    """A share seen as 0 or 1 is still uncertain, the less so the more rows there are."""
    assert 0 < share_error(0.0, 1000) < share_error(1.0, 100)
    assert share_error(0.5, 10_000) == pytest.approx(0.005, rel=0.01)
