"""`score`: two sets in, metrics with nulls and modes out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from references.mixtures import mixture, ring
from sklearn.datasets import load_digits

import gandiag
from gandiag.errors import ShapeError
from gandiag.metrics import Measure


def test_scores_say_what_is_missing():
    """Fakes of 5 of 8 modes: three are missing, and coverage is below its null."""
    real, _ = ring(1200)
    fake, modes = ring(800, seed=1)
    found = gandiag.score(real=real, fake=fake[modes < 5])
    assert (found.modes.count_real, found.modes.count_captured, found.modes.source) == (8, 5, "clusters")
    assert found.metrics["coverage"].high < found.metrics["coverage"].null_low
    assert all(isinstance(measure, Measure) for measure in found.metrics.values())


def test_labels_are_the_modes():
    """With labels the modes are the user's classes."""
    real, labels = mixture(900, 64)
    found = gandiag.score(real=torch.from_numpy(real), fake=mixture(600, 64, seed=1, kept=20)[0], labels=labels)
    assert found.modes.source == "labels"
    assert [mode.id for mode in found.modes.modes if mode.state == "missing"] == [20, 21, 22, 23, 24]


def test_images_are_embedded():
    """Samples of any shape are embedded first, both sets by the same embedder, and it is named."""
    images, classes = load_digits(return_X_y=True)
    images = images.reshape(-1, 1, 8, 8)
    found = gandiag.score(real=images[:1200], fake=images[1200:][classes[1200:] != 0])
    assert found.embedder == "identity"
    assert 0 < found.metrics["coverage"].value < 1


def test_scores_are_strict_json():
    """The JSON form has the fields that the command line promises and holds no NaN."""
    found = gandiag.score(real=ring(200)[0], fake=ring(100, seed=1)[0])
    fields = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert fields["schema"] == "gandiag.scores/1"
    assert set(fields) == {"schema", "embedder", "modes", "metrics"}
    assert fields["metrics"]["coverage"]["n_fake"] == 100


def test_scores_repeat():
    """Scoring twice gives the same numbers."""
    real, fake = ring(200)[0], ring(100, seed=1)[0]
    assert gandiag.score(real=real, fake=fake).metrics == gandiag.score(real=real, fake=fake).metrics


@pytest.mark.parametrize(
    ("real", "fake", "says"),
    [
        (np.zeros((60, 3, 8, 8)), np.zeros((60, 1, 8, 8)), "resize or crop"),
        (np.zeros((20, 2)), np.zeros((60, 2)), "at least 16"),
        ("abc", np.zeros((60, 2)), "cannot be read"),
    ],
)
def test_unusable_sets_are_refused(real, fake, says):
    """Sets that do not fit each other, or are too small, are refused in words."""
    with pytest.raises(ShapeError, match=says):
        gandiag.score(real=real, fake=fake)
