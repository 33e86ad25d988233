"""Assigning fakes to modes, and judging each mode's fate; `test_clusters` is about finding them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from references.mixtures import grid, mixture, ring
from sklearn.datasets import load_digits

from gandiag.errors import ShapeError
from gandiag.metrics import assign, find_modes, mode_table


def table(real, labels, fake):
    return mode_table(
        real=real,
        real_labels=labels,
        fake=fake,
        fake_labels=assign(real=real, real_labels=labels, fake=fake),
        source="labels",
    )


def states(found) -> list[str]:
    return [mode.state for mode in found.modes]


@pytest.mark.parametrize(("make", "std"), [(ring, 0.01), (grid, 0.05)])
def test_blurry_fakes_are_assigned_in_a_plane(make, std):
    """Fakes with three times the modes' std are assigned, and to the right mode."""
    real, labels = make(2000)
    fake, theirs = make(2000, seed=1, std=3 * std)
    assert (assign(real=real, real_labels=labels, fake=fake) == theirs).mean() > 0.99


@pytest.mark.parametrize("d", [16, 64, 512])
def test_blurry_fakes_are_assigned_in_many_dimensions(d):
    """The same in up to 512 dimensions, though there every fake is farther from its mode than any real."""
    real, labels = mixture(1500, d, std=0.2)
    fake, theirs = mixture(1500, d, std=0.6, seed=1)
    assert (assign(real=real, real_labels=labels, fake=fake) == theirs).mean() > 0.99


def test_junk_is_near_no_mode():
    """Noise over all of a 64-dimensional space is hardly ever assigned, nor is what lies between the grid's modes."""
    rng = np.random.default_rng(0)
    real, labels = mixture(1000, 64)
    assert (assign(real=real, real_labels=labels, fake=3 * rng.normal(size=(300, 64))) == -1).mean() > 0.97
    real, labels = grid(1000)
    middles = np.array([(x, y) for x in (-3, -1, 1, 3) for y in (-3, -1, 1, 3)])
    assert (assign(real=real, real_labels=labels, fake=middles) == -1).all()


def test_labels_of_any_integers_are_kept():
    """Labels need not be 0, 1, ...; unlabelled reals have no vote."""
    real = np.array([[0.0], [0.2], [0.1], [5.0], [5.2], [5.1], [0.05]])
    labels = [40, 40, 40, 7, 7, 7, -1]
    assert assign(real=real, real_labels=labels, fake=[[0.06], [5.05], [90.0]]).tolist() == [40, 7, -1]
    assert assign(real=real, real_labels=[-1] * 7, fake=[[0.0]]).tolist() == [-1]


def test_a_healthy_generator_has_healthy_modes():
    """Another draw of the same data: all modes ok, all captured, spreads near 1."""
    real, labels = mixture(2000, 64)
    found = table(real, labels, mixture(2000, 64, seed=1)[0])
    assert states(found) == ["ok"] * 25
    assert (found.count_real, found.count_captured, found.unassigned_share) == (25, 25, 0.0)
    assert all(0.8 < mode.spread_ratio < 1.25 for mode in found.modes)
    assert all(mode.p_adjusted > 0.05 for mode in found.modes)


def test_missing_modes_are_named():
    """Fakes of the first 15 modes only: exactly the ten others are missing, each significantly."""
    real, labels = mixture(2000, 64)
    found = table(real, labels, mixture(1000, 64, seed=1, kept=15)[0])
    assert [mode.id for mode in found.modes if mode.state == "missing"] == list(range(15, 25))
    assert found.count_captured == 15
    assert all(mode.p_adjusted < 0.01 and math.isnan(mode.spread_ratio) for mode in found.modes[15:])


def test_a_few_samples_do_not_capture_a_mode():
    """Ten modes at a fortieth of their share are missing, though each has a sample or two."""
    real, labels = mixture(3000, 64)
    fake, theirs = mixture(6000, 64, seed=1)
    rare = (theirs < 15) | (np.random.default_rng(0).random(6000) < 0.02)
    assert table(real, labels, fake[rare]).count_captured == 15


def test_under_and_over_are_named():
    """A mode at a third of its share is under, one at four times its share is over."""
    real, labels = grid(3000)
    fake, theirs = grid(9000, seed=1)
    keep = np.random.default_rng(0).random(9000)
    fake = fake[((theirs != 3) & (keep < 0.25)) | ((theirs == 3) & (keep < 0.08)) | (theirs == 8)]
    found = table(real, labels, fake)
    assert {mode.id: mode.state for mode in found.modes if mode.state != "ok"} == {3: "under", 8: "over"}


@pytest.mark.parametrize(("make", "std"), [(ring, 0.01), (lambda n, **kw: mixture(n, 64, **kw), 0.5)])
@pytest.mark.parametrize("factor", [0.1, 0.4, 0.8, 1.5])
def test_the_spread_ratio_is_the_ratio_of_spreads(make, std, factor):
    """Within 15 % the spread ratio is the factor on the modes' std, and below a half they are shrunken."""
    real, labels = make(2000)
    found = table(real, labels, make(2000, seed=1, std=factor * std)[0])
    assert np.mean([mode.spread_ratio for mode in found.modes]) == pytest.approx(factor, rel=0.15)
    assert set(states(found)) == ({"shrunken"} if factor < 0.5 else {"ok"})


def test_few_rows_by_chance_narrow_are_not_shrunken():
    """Ten fakes of each of 1,000 modes: none is called shrunken, though six ratios are below a half by chance."""
    rng = np.random.default_rng(0)
    ours, theirs = np.arange(1000).repeat(24), np.arange(1000).repeat(10)
    real, fake = (20.0 * np.c_[m, m**2 % 997] + rng.normal(size=(len(m), 2)) for m in (ours, theirs))
    found = mode_table(real=real, real_labels=ours, fake=fake, fake_labels=theirs, source="labels")
    assert min(mode.spread_ratio for mode in found.modes) < 0.5
    assert set(states(found)) == {"ok"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_are_near_a_mode_of_one_point(dtype):
    """A mode of repeated rows has no extent, and yet exact copies of them are in it; what is beside them is not."""
    points = np.random.default_rng(0).normal(size=(6, 7)).astype(dtype)
    real, fake = np.random.default_rng(1).integers(0, 6, 600), np.random.default_rng(2).integers(0, 6, 300)
    assert np.array_equal(assign(real=points[real], real_labels=real, fake=points[fake]), fake)
    assert (assign(real=points[real], real_labels=real, fake=points[fake] + 1e-4) == -1).all()


def test_bridging_junk_does_not_hide_shrinking():
    """With a tenth of the fakes strewn between the modes, modes of a tenth of their spread are still shrunken."""
    real, labels = mixture(2000, 64)
    rng = np.random.default_rng(0)
    ends = mixture(200, 64, seed=2)[0], mixture(200, 64, seed=3)[0]
    bridges = ends[0] + rng.random((200, 1)) * (ends[1] - ends[0])
    found = table(real, labels, np.r_[mixture(1800, 64, seed=1, std=0.05)[0], bridges])
    assert states(found).count("shrunken") >= 24


def test_junk_is_not_a_lack_of_every_mode():
    """Two thirds of junk and a perfect third: unassigned fakes are reported, and no mode is called under."""
    real, labels = mixture(2000, 64)
    junk = 3 * np.random.default_rng(0).normal(size=(2000, 64))
    found = table(real, labels, np.r_[mixture(1000, 64, seed=1)[0], junk])
    assert states(found) == ["ok"] * 25
    assert found.unassigned_share == pytest.approx(2 / 3, abs=0.02)
    assert sum(mode.fake_share for mode in found.modes) + found.unassigned_share == pytest.approx(1)


def test_fakes_near_nothing_miss_every_mode():
    """Where no fake is near any mode, all are missing; with a single mode as well."""
    real, labels = ring(400)
    found = table(real, labels, np.full((300, 2), 50.0))
    assert set(states(found)) == {"missing"}
    assert (found.count_captured, found.unassigned_share) == (0, 1.0)
    assert states(table(real, np.zeros(400, dtype=int), np.full((300, 2), 50.0))) == ["missing"]


def test_few_fakes_accuse_nobody():
    """With 20 fakes over 25 modes chance leaves many empty: they are not captured, and none is called missing."""
    real, labels = mixture(2000, 64)
    found = table(real, labels, mixture(20, 64, seed=1)[0])
    assert "missing" not in states(found)
    assert found.count_captured < 25


def test_false_alarms_are_rare():
    """Over 20 healthy generators with 1000 modes judged in all, at most one in a hundred is called anything but ok."""
    wrong = 0
    for seed in range(20):
        real, labels = mixture(600, 16, seed=seed)
        wrong += sum(state != "ok" for state in states(table(real, labels, mixture(600, 16, seed=seed + 100)[0])))
    assert wrong <= 5


def test_exemplars_show_the_middle_of_a_mode():
    """They are rows of that mode, near its centre."""
    real, labels = ring(500)
    for mode in table(real, labels, ring(500, seed=1)[0]).modes:
        rows = list(mode.real_indices)
        assert (labels[rows] == mode.id).all()
        assert np.linalg.norm(real[rows] - real[labels == mode.id].mean(0), axis=1).max() < 0.01


def dropped_digit(digit: int, *, seed: int):
    """A thousand digits and their classes; a thousand fakes without one class.

    The fakes are the other 797 images less that class, and as many of these again, each moved by noise of half a grey
    level of sixteen, as it takes.
    """
    x, classes = load_digits(return_X_y=True)
    rng = np.random.default_rng([digit, seed])
    order = rng.permutation(len(x))
    real, rest = order[:1000], order[1000:]
    rest = rest[classes[rest] != digit]
    again = rng.choice(rest, 1000 - len(rest))
    fake = np.r_[x[rest], x[again] + rng.normal(scale=0.5, size=(len(again), 64))]
    return x[real], classes[real], fake


def test_a_dropped_digit_is_named():
    """Without labels, a class that the fakes lack is called missing, by exemplars of that class, and no other is.

    Of these 20 draws at least 19; of 400 it was 96.5 %, see the page on modes.
    """
    named = 0
    for digit in range(10):
        for seed in range(2):
            real, classes, fake = dropped_digit(digit, seed=seed)
            missing = [
                np.bincount(classes[list(mode.real_indices)], minlength=10).argmax()
                for mode in table(real, find_modes(real), fake).modes
                if mode.state == "missing"
            ]
            named += digit in missing
            assert set(missing) <= {digit}
    assert named >= 19


def test_fakes_from_over_the_border_do_not_hide_a_missing_mode():
    """A mode with a fifth of its share is missing if its middle is empty, and under if the fakes are all over it."""
    rng = np.random.default_rng(0)
    real = np.r_[rng.normal(size=(500, 8)), 8 + rng.normal(size=(500, 8))]
    labels = np.arange(1000) // 500
    far = real[500:][np.linalg.norm(real[500:] - 8, axis=1) > 3.2][:60]
    for fakes, state in [(far + 0.1 * rng.normal(size=far.shape), "missing"), (8 + rng.normal(size=(60, 8)), "under")]:
        found = table(real, labels, np.r_[rng.normal(size=(500, 8)), fakes])
        assert [mode.state for mode in found.modes] == ["ok", state]
        assert found.count_captured == (1 if state == "missing" else 2)
        assert found.modes[1].fake_share > 0.1 * found.modes[1].real_share
        assert (found.modes[1].middle_ratio < 0.1) == (state == "missing")
    assert math.isnan(found.modes[0].middle_ratio)


def test_held_out_rows_are_counted_in_the_place_of_those_the_modes_were_found_in():
    """Shares and tests are from the held-out labels; exemplars and spreads stay those of real."""
    real, labels = ring(800)
    fake = ring(800, seed=1)[0]
    theirs = assign(real=real, real_labels=labels, fake=fake)
    held_out = np.repeat(np.arange(8), [0, 200, 40, 40, 40, 40, 40, 40])
    arguments = {"real": real, "real_labels": labels, "fake": fake, "fake_labels": theirs, "source": "clusters"}
    found, without = mode_table(**arguments, held_out_labels=held_out), mode_table(**arguments)
    assert [mode.real_share for mode in found.modes[:3]] == pytest.approx([0, 200 / 440, 40 / 440])
    assert states(found)[1] == "under"
    assert [mode.real_indices for mode in found.modes] == [mode.real_indices for mode in without.modes]
    assert [mode.spread_ratio for mode in found.modes] == [mode.spread_ratio for mode in without.modes]
    with pytest.raises(ShapeError, match="make held_out_labels with assign"):
        mode_table(**arguments, held_out_labels=[-1, 11])


@pytest.mark.parametrize("d", [2, 64, 512])
def test_data_against_held_out_data_raise_no_alarm(d):
    """With modes found in one part of the data, in at most one of 6 draws any share of another part is called wrong."""
    alarms = 0
    for seed in range(6):
        x = mixture(1800, d, seed=seed, std=0.05 if d == 2 else 0.5)[0]
        real, held_out, fake = x[:600], x[600:1200], x[1200:]
        labels = find_modes(real)
        found = mode_table(
            real=real,
            real_labels=labels,
            fake=fake,
            fake_labels=assign(real=real, real_labels=labels, fake=fake),
            held_out_labels=assign(real=real, real_labels=labels, fake=held_out),
            source="clusters",
        )
        alarms += any(mode.p_adjusted < 0.05 for mode in found.modes)
    assert alarms <= 1


def test_fake_exemplars_are_the_fakes_in_the_middle():
    """They are fakes of that mode, the nearest to the median of its reals, and none where there are none."""
    real, labels = ring(500)
    fake, theirs = ring(500, seed=1)
    fake, theirs = fake[theirs != 2], theirs[theirs != 2]
    for mode in table(real, labels, fake).modes:
        rows = list(mode.fake_indices)
        assert len(rows) == (0 if mode.id == 2 else 8)
        assert (theirs[rows] == mode.id).all()
        middle = np.quantile(real[labels == mode.id], 0.5, axis=0, method="lower")
        away = np.linalg.norm(fake - middle, axis=1)
        assert away[rows].tolist() == pytest.approx(sorted(away[theirs == mode.id])[: len(rows)])


def test_intervals_hold_what_they_are_of():
    """Shares lie within their intervals, and the spread ratio within its own; both shrink with more fakes."""
    real, labels = mixture(2000, 16)
    few, many = (table(real, labels, mixture(n, 16, seed=1, std=0.4)[0]) for n in (1000, 8000))
    for found in (few, many):
        for mode in found.modes:
            assert mode.real_low < mode.real_share < mode.real_high
            assert mode.fake_low < mode.fake_share < mode.fake_high
            assert mode.spread_low < mode.spread_ratio < mode.spread_high
    for small, large in zip(few.modes, many.modes, strict=True):
        assert large.fake_high - large.fake_low < small.fake_high - small.fake_low
        assert large.spread_high - large.spread_low < small.spread_high - small.spread_low
    assert np.mean([mode.spread_low < 0.8 < mode.spread_high for mode in (*few.modes, *many.modes)]) > 0.85


def test_numbers_about_all_modes():
    """Fakes of 15 of 25 modes: KL log(25 / 15), entropy log 15, and 15 hit where a perfect sampler hits 25."""
    real, labels = mixture(5000, 64)
    found = table(real, labels, mixture(5000, 64, seed=1, kept=15)[0])
    assert found.reverse_kl == pytest.approx(math.log(25 / 15), abs=0.02)
    assert found.entropy_fake == pytest.approx(math.log(15), abs=0.01)
    assert found.entropy_real == pytest.approx(math.log(25), abs=0.01)
    assert (found.count_hit, found.expected_hit) == (15, pytest.approx(25))
    assert found.reverse_kl_floor == pytest.approx(24 / 2 * (2 / 5000))


def test_the_table_is_strict_json():
    """What it says survives JSON, where there is no NaN."""
    real, labels = ring(400)
    found = table(real, labels, ring(400, seed=1)[0][labels > 3])
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["modes"][0]["state"] == found.modes[0].state


@pytest.mark.parametrize("labels", [np.zeros(9, dtype=int), np.zeros((10, 1), dtype=int), np.zeros(10), [-1] * 10])
def test_labels_that_do_not_fit_are_refused(labels):
    """Labels must be one integer a row, and at least one real must have a mode."""
    with pytest.raises(ShapeError, match="real_labels"):
        mode_table(
            real=np.zeros((10, 2)), real_labels=labels, fake=np.zeros((3, 2)), fake_labels=[0] * 3, source="labels"
        )
