"""Finding modes, assigning fakes to them, and judging each one's fate."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from references.mixtures import grid, mixture, ring
from sklearn.datasets import load_digits, make_swiss_roll
from sklearn.metrics import adjusted_rand_score

from gandiag.errors import ShapeError
from gandiag.metrics import assign, find_modes, mode_table
from gandiag.metrics._clusters import MOST, _dimension


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


@pytest.mark.parametrize("n", [1000, 2500])
@pytest.mark.parametrize("seed", [0, 1])
def test_rings_and_grids_are_found(n, seed):
    """The 8 modes of the ring and the 25 of the grid are found without a mistake."""
    for make in (ring, grid):
        x, modes = make(n, seed=seed)
        assert adjusted_rand_score(modes, find_modes(x)) == 1.0


@pytest.mark.parametrize("n", [1000, 2500])
@pytest.mark.parametrize("d", [64, 512])
@pytest.mark.parametrize("std", [0.25, 1.0])
def test_mixtures_are_found(n, d, std):
    """25 Gaussians in many dimensions are found, those of std 1 that a nearest-neighbour edge joins too."""
    x, modes = mixture(n, d, std=std)
    assert adjusted_rand_score(modes, find_modes(x)) > 0.99


def test_digits_are_found():
    """The classes of real images are found: adjusted Rand index at least 0.80 against the labels."""
    x, classes = load_digits(return_X_y=True)
    found = find_modes(x)
    assert adjusted_rand_score(classes, found) >= 0.80
    assert 9 <= found.max() + 1 <= 13


@pytest.mark.parametrize("n", [600, 1000, 2500])
@pytest.mark.parametrize("seed", [0, 1])
def test_one_piece_of_data_has_one_mode(n, seed):
    """Gaussian blobs, heavy tails, a filled square and a Swiss roll are not cut up."""
    rng = np.random.default_rng(seed)
    pieces = [rng.normal(size=(n, d)) for d in (2, 10, 64)]
    pieces += [rng.standard_t(3, size=(n, 2)), np.exp(rng.normal(size=(n, 5))), rng.uniform(size=(n, 2))]
    pieces += [make_swiss_roll(n, noise=0.1, random_state=seed)[0]]
    assert [find_modes(x).max() for x in pieces] == [0] * len(pieces)


def test_unequal_modes_are_found():
    """Modes of 2 % to 60 % of the data are found, the largest first."""
    rng = np.random.default_rng(0)
    sizes = [600, 250, 100, 30, 20]
    centres = 10 * rng.normal(size=(5, 8))
    x = np.concatenate([centre + rng.normal(size=(size, 8)) for centre, size in zip(centres, sizes, strict=True)])
    assert np.bincount(find_modes(x)).tolist() == sizes


def test_small_groups_are_no_mode():
    """Twenty rows of 2,520 far from all others are no mode and in none; a single stray row joins its nearest mode."""
    rng = np.random.default_rng(0)
    group = np.array([30.0, 0.0]) + 0.01 * rng.normal(size=(20, 2))
    found = find_modes(np.r_[ring(2500)[0], group, [[1.5, 0.0]]])
    assert found.max() == 7
    assert set(found[2500:2520]) == {-1}
    assert found[2520] == found[ring(2500)[1].tolist().index(0)]


def test_data_of_copies():
    """Rows that repeat twenty points are twenty modes; rows that are all the same are one."""
    points = np.random.default_rng(0).normal(size=(20, 8))
    assert adjusted_rand_score(np.arange(1000) // 50, find_modes(np.repeat(points, 50, axis=0))) == 1.0
    assert find_modes(np.ones((100, 3))).tolist() == [0] * 100


def test_few_rows_are_one_mode():
    """With too few rows for two modes there is one."""
    assert find_modes(np.random.default_rng(0).normal(size=(15, 2))).tolist() == [0] * 15
    assert find_modes([[1.0, 2.0]]).tolist() == [0]


def test_many_rows_follow_a_part_of_them():
    """Beyond the rows that are clustered, the others get the mode of their nearest clustered row."""
    x, modes = ring(MOST + 1500)
    assert adjusted_rand_score(modes, find_modes(x, seed=3)) == 1.0


def test_finding_is_deterministic_and_touches_no_global_stream():
    """Same rows, same modes; NumPy's and torch's global random states stay as they are."""
    x = load_digits(return_X_y=True)[0]
    before, torch_before = np.random.get_state(), torch.get_rng_state()
    first = find_modes(x, seed=7)
    np.testing.assert_array_equal(first, find_modes(x, seed=7))
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])
    assert torch.equal(torch_before, torch.get_rng_state())


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_dimension_is_that_of_the_data(d):
    """The estimate is the dimension of the data and not of the space around them."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(1500, d)) @ np.linalg.qr(rng.normal(size=(20, 20)))[0][:d]
    distances = np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, 1:16]
    assert _dimension(distances) == pytest.approx(d, rel=0.15)


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
