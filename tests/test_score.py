"""`score`: two sets in; metrics with nulls, modes, and the name of what is wrong out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from references.mixtures import mixture, ring
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import gandiag
from gandiag.errors import ShapeError, UnknownName, UsageError
from gandiag.metrics import Measure


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images [1797, 1, 8, 8] float32 in 0..1 and their classes."""
    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    return (images[order].reshape(-1, 1, 8, 8) / 16).astype(np.float32), classes[order]


def test_scores_say_what_is_missing() -> None:
    """Fakes of 5 of 8 modes: three are missing, coverage is below its null, and that is its name."""
    real, _ = ring(1200)
    fake, modes = ring(800, seed=1)
    found = gandiag.score(real=real, fake=fake[modes < 5])
    assert (found.modes.count_real, found.modes.count_captured, found.modes.source) == (8, 5, "clusters")
    assert found.metrics["coverage"].high < found.metrics["coverage"].null_low
    assert all(isinstance(measure, Measure) for measure in found.metrics.values())
    assert found.reading.names == ("modes missing",)
    assert "3 of 8 modes" in found.reading.sentence


def test_labels_are_the_modes() -> None:
    """With labels the modes are the user's classes."""
    real, labels = mixture(900, 64)
    found = gandiag.score(real=torch.from_numpy(real), fake=mixture(600, 64, seed=1, kept=20)[0], labels=labels)
    assert found.modes.source == "labels"
    assert [mode.id for mode in found.modes.modes if mode.state == "missing"] == [20, 21, 22, 23, 24]


def test_a_dropped_digit_is_found_in_images(digits: tuple[np.ndarray, np.ndarray]) -> None:
    """Images are embedded first, both sets by the same embedder; the digit left out is missing, and shown."""
    images, classes = digits
    fake = images[1000:][classes[1000:] != 0]
    found = gandiag.score(real=images[:1000], fake=fake, labels=classes[:1000])
    assert found.embedder == "identity"
    assert "64 numbers" in found.reason
    assert found.reading.names == ("modes missing",)
    zero = found.modes.modes[0]
    assert zero.state == "missing"
    assert set(classes[list(zero.real_indices)]) == {0}
    assert found.real.pictures.shape == (1000, 8, 8, 1)
    assert found.fake.pictures.shape == (len(fake), 8, 8, 1)


def test_real_data_are_not_called_different() -> None:
    """Held-out data in the place of fakes: no name, no missing mode."""
    found = gandiag.score(real=mixture(800, 64)[0], fake=mixture(400, 64, seed=1)[0])
    assert found.reading.names == ()
    assert "400 real and 400 generated samples" in found.reading.sentence


def test_scores_are_strict_json() -> None:
    """The JSON form has the fields that the command line promises and holds no NaN."""
    fake = ring(100, seed=1)[0]
    fake[7] = np.nan
    found = gandiag.score(real=ring(200)[0], fake=fake)
    fields = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert fields["schema"] == "gandiag.scores/1"
    assert {"schema", "embedder", "modes", "metrics", "reading", "reason", "notes", "cautions"} <= set(fields)
    assert fields["metrics"]["coverage"]["n_fake"] == 99
    assert fields["reading"]["names"] == []
    assert (fields["n_real"], fields["n_fake"], fields["left_out"]) == (200, 99, {"real": [], "fake": [7]})


def test_scores_repeat_and_touch_no_random_stream() -> None:
    """Scoring twice gives the same numbers, and the global random streams stand where they stood."""
    real, fake = ring(200)[0], ring(100, seed=1)[0]
    streams = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = gandiag.score(real=real, fake=fake), gandiag.score(real=real, fake=fake)
    assert first.to_json() == second.to_json()
    assert torch.equal(torch.get_rng_state(), streams[0])
    assert np.array_equal(np.random.get_state()[1], streams[1])


def test_a_stream_scores_as_its_array_does(digits: tuple[np.ndarray, np.ndarray]) -> None:
    """Arrays, lists of batches and generators of the same samples give the same scores."""
    images, classes = digits
    real, fake = images[:400], images[400:700]
    whole = gandiag.score(real=real, fake=fake, labels=classes[:400])
    batches = gandiag.score(
        real=np.array_split(real, 7), fake=list(torch.from_numpy(fake).split(64)), labels=classes[:400]
    )
    stream = gandiag.score(
        real=(real[start : start + 50] for start in range(0, 400, 50)),
        fake=(torch.from_numpy(fake[start : start + 9]) for start in range(0, 300, 9)),
        labels=torch.from_numpy(classes[:400]),
    )
    assert whole.to_json() == batches.to_json() == stream.to_json()


def test_a_loader_brings_its_classes(digits: tuple[np.ndarray, np.ndarray]) -> None:
    """Whole numbers that come second in each batch are classes, and that is said; `labels` come before them."""
    images, classes = (torch.from_numpy(array[:400]) for array in digits)
    loader = DataLoader(TensorDataset(images, classes), batch_size=64)
    found = gandiag.score(real=loader, fake=images[::2])
    assert found.modes.source == "labels"
    assert found.modes.count_real == 10
    assert "taken for classes" in " ".join(found.notes)
    other = gandiag.score(real=loader, fake=images[::2], labels=classes // 5)
    assert other.modes.count_real == 2
    assert other.notes == ()


@pytest.mark.parametrize(
    ("second", "says"),
    [(torch.zeros(200, dtype=torch.int64), "all 0"), (torch.arange(200), "200 values: no classes"), (None, "")],
)
def test_what_cannot_be_classes_is_not_taken_for_them(second: torch.Tensor | None, says: str) -> None:
    """One value for all, or a number for each: modes are looked for, and that is said."""
    real = torch.from_numpy(ring(200)[0])
    loader = DataLoader(TensorDataset(*([real] if second is None else [real, second])), batch_size=32)
    found = gandiag.score(real=loader, fake=ring(100, seed=1)[0])
    assert found.modes.source == "clusters"
    assert says in " ".join(found.notes)


def test_broken_samples_are_named_and_left_out() -> None:
    """NaN and infinity are left out with their labels, and exemplars still count samples as they were given."""
    real, labels = mixture(400, 8, seed=0)
    fake = mixture(200, 8, seed=1)[0]
    real[[3, 5]], fake[17, 2] = np.nan, np.inf
    found = gandiag.score(real=real, fake=fake, labels=labels)
    assert (found.n_real, found.n_fake) == (398, 199)
    assert "2 of 400 real samples, or their embeddings, hold NaN or infinity and were left out: samples 3, 5" in (
        found.cautions
    )
    assert "sample 17" in " ".join(found.cautions)
    for mode in found.modes.modes:
        assert set(labels[list(mode.real_indices)]) == {mode.id}
        assert not {3, 5} & set(mode.real_indices)


def test_samples_that_an_embedder_learned_from_are_not_measured(digits: tuple[np.ndarray, np.ndarray]) -> None:
    """PCA spends a fifth of the data: they are out of the metrics, and exemplars are of the right class."""
    images, classes = digits
    found = gandiag.score(real=images[:600], fake=images[600:900], labels=classes[:600], embedder="pca")
    assert found.n_real == 480
    assert len(found.real.samples) == len(found.real.pictures) == 480
    assert "120 real samples" in " ".join(found.notes)
    agree = [(classes[list(mode.real_indices)] == mode.id).mean() for mode in found.modes.modes]
    assert agree == [1.0] * 10


def test_progress_is_told() -> None:
    """Each side counts up to its end, then come metrics and modes."""
    seen: list[tuple[int, int | None, str]] = []
    real, fake = ring(200)[0], ring(100, seed=1)[0]
    gandiag.score(real=[real[:150], real[150:]], fake=fake, progress=lambda *step: seen.append(step))
    assert seen == [
        (0, None, "real"),
        (150, None, "real"),
        (200, None, "real"),
        (0, 100, "fake"),
        (100, 100, "fake"),
        (0, None, "metrics"),
        (0, None, "modes"),
    ]


def test_another_range_is_a_caution_with_both_ranges(digits: tuple[np.ndarray, np.ndarray]) -> None:
    """Pixels in 0..1 against ones in -1..1: measured as they are, and said."""
    images = digits[0]
    found = gandiag.score(real=images[:300], fake=2 * images[300:500] - 1)
    assert "real values are float32 from 0 to 1, these are float32 from -1 to 1" in " ".join(found.cautions)
    assert "junk" in found.reading.names


def test_more_fakes_than_half_the_data_are_said_to_be_cut() -> None:
    """The null needs as many held-out reals as there are fakes."""
    found = gandiag.score(real=ring(200)[0], fake=ring(300, seed=1)[0])
    assert found.n_fake == 300
    assert found.metrics["coverage"].n_fake == 100
    assert "100 of the 300 fakes were measured" in " ".join(found.cautions)


GOOD = np.random.default_rng(0).normal(size=(60, 2))


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        ({"real": np.zeros((60, 3, 8, 8)), "fake": np.zeros((60, 3, 9, 8))}, ShapeError, "resize or crop"),
        ({"real": np.zeros((60, 3, 8, 8)), "fake": np.zeros((60, 1, 8, 8))}, ShapeError, "as many channels"),
        ({"real": np.zeros((60, 3, 8, 8)), "fake": np.zeros((60, 192))}, ShapeError, "reshape one of them"),
        ({"real": GOOD[:20]}, ShapeError, "at least 32"),
        ({"fake": GOOD[:10]}, ShapeError, "at least 16"),
        ({"real": "abc"}, ShapeError, "real is str"),
        ({"fake": {"x": GOOD}}, ShapeError, "fake is dict"),
        ({"real": TensorDataset(torch.zeros(60, 2))}, ShapeError, "belongs into a DataLoader"),
        ({"real": iter([])}, ShapeError, "read only once"),
        ({"real": [GOOD, GOOD[:, :1]]}, ShapeError, "resize or crop them alike"),
        ({"fake": [GOOD, np.array(["a"])]}, ShapeError, "batch 1: fake cannot be read as numbers"),
        ({"fake": np.full((60, 2), np.nan)}, ShapeError, "60 of 60 fake samples hold NaN"),
        ({"real": np.full((60, 2), np.inf)}, ShapeError, "look at what made them"),
        ({"real": GOOD.astype(complex)}, ShapeError, "real numbers"),
        ({"labels": [0, 1]}, ShapeError, "2 labels for 60 real samples"),
        ({"labels": np.zeros(60)}, ShapeError, "whole numbers"),
        ({"labels": -np.ones(60, dtype=int)}, ShapeError, "leave labels out"),
        ({"device": "nowhere"}, UsageError, "cannot compute on device 'nowhere'"),
        ({"embedder": "identiti"}, UnknownName, "Did you mean 'identity'"),
        ({"real": (GOOD * 20 + 128).astype(np.uint8), "fake": GOOD / 10}, UsageError, "not on one scale"),
    ],
)
def test_unusable_sets_are_refused(words: dict[str, object], error: type[Exception], says: str) -> None:
    """Sets that do not fit each other, are too small or no samples at all are refused in words."""
    with pytest.raises(error, match=says):
        gandiag.score(**{"real": GOOD, "fake": GOOD, **words})
