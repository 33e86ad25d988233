"""The registry of metrics."""

from __future__ import annotations

import math

import pytest
from references.mixtures import mixture

from gandiag.errors import UnknownName
from gandiag.metrics import METRICS


def test_all_metrics_are_found():
    """Scanning the folder finds every family, under the field's names."""
    neighbours = {"precision", "recall", "density", "coverage", "clipped_density", "clipped_coverage"}
    others = {"frechet", "kid", "vendi", "duplicates", "copies", "pair_diversity", "modes_captured"}
    assert set(METRICS.names()) >= neighbours | others


@pytest.mark.parametrize("name", METRICS.names())
def test_what_a_metric_says_of_itself_is_true(name):
    """With as few rows as it needs each metric gives a finite number in its range."""
    metric = METRICS[name]
    value = metric(real=mixture(metric.needs, 4)[0], fake=mixture(metric.needs, 4, seed=1)[0])
    assert math.isfinite(value)
    assert metric.lo <= value <= metric.hi
    assert metric.better in {"higher", "lower"}


@pytest.mark.parametrize("name", METRICS.names())
def test_better_is_better(name):
    """Held-out data score at least as well as one single output does, in the direction that is called better."""
    if name in {"precision", "copies"}:
        pytest.skip("blind to collapse by definition")
    metric = METRICS[name]
    real, held_out = mixture(400, 16)[0], mixture(400, 16, seed=1)[0]
    good, bad = metric(real=real, fake=held_out), metric(real=real, fake=held_out[:1].repeat(400, axis=0))
    if name == "density":
        assert good > 0.8  # a point in the middle of a mode has more of it: the one that must be read with its null
    else:
        assert good > bad if metric.better == "higher" else good < bad


def test_a_wrong_name_gets_a_hint():
    """The nearest name is suggested."""
    with pytest.raises(UnknownName, match="coverage"):
        METRICS["covrage"]
