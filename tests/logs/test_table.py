"""From a log's columns to the ones that analyzers know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from gandiag.logs import Log, Series, tabulate


def series(values: Sequence[float], steps: Sequence[int] | None = None) -> Series:
    made = Series()
    for step, value in zip(range(len(values)) if steps is None else steps, values, strict=True):
        made.add(step, value)
    return made


def log(columns: Mapping[str, Series | Sequence[float]]) -> Log:
    named = {name: made if isinstance(made, Series) else series(made) for name, made in columns.items()}
    return Log(path=Path("log"), title="a log", series=named, axis="steps")


def test_units_are_gandiags() -> None:
    """Probabilities become logits, signs and percentages shares, and right answers on fakes "judged real"."""
    table = tabulate(
        log({"D(x)": [0.5, 0.75, 1.0], "Loss/signs/real": [-1, 0, 1], "D_acc": [0, 50, 100], "fake_acc": [1, 0.75, 0]})
    ).scalars
    assert np.allclose(table["d/logits/real/mean"], [0, np.log(3), 16])
    assert table["d/logits/real/positive"].tolist() == [0, 0.5, 1]
    assert table["d/accuracy"].tolist() == [0, 0.5, 1]
    assert table["d/logits/fake/positive"].tolist() == [0, 0.25, 1]


def test_what_a_name_says_its_values_must_bear_out() -> None:
    """D(x) beyond 1 is a raw score; an accuracy of 1,000 and a negative norm are neither."""
    table = tabulate(log({"D(x)": [0.5, 3.0], "D(G(z))": [0.25, 0.5], "D_acc": [1, 1000], "grad_norm_G": [1, -1]}))
    assert table.scalars["d/logits/real/mean"].tolist() == [0.5, 3.0]
    assert table.scalars["d/logits/fake/mean"].tolist() == [0.25, 0.5]
    assert "d/accuracy" not in table.scalars
    assert "grad/g/total" not in table.scalars
    assert len([note for note in table.notes if "left out" in note]) == 2


def test_scores_that_stay_within_0_and_1_are_probabilities() -> None:
    """`real_score` is a sigmoid's output in many scripts; where either side leaves 0..1, both are logits."""
    table = tabulate(log({"real_score": [0.5, 0.75], "fake_score": [0.25, 0.5]}))
    assert np.allclose(table.scalars["d/logits/real/mean"], [0, np.log(3)])
    assert np.allclose(table.scalars["d/logits/fake/mean"], [-np.log(3), 0])
    assert any("'real_score', 'fake_score': read as probabilities" in note for note in table.notes)
    raw = tabulate(log({"real_score": [0.5, 0.75], "fake_score": [-2.0, 0.5]})).scalars
    assert raw["d/logits/real/mean"].tolist() == [0.5, 0.75]
    assert raw["d/logits/fake/mean"].tolist() == [-2.0, 0.5]


def test_columns_of_different_cadence_share_a_table() -> None:
    """A step is a row; what was not measured there is NaN and counts as nothing."""
    table = tabulate(log({"loss_d": series([1, 2, 3], [0, 10, 20]), "loss_g": series([4, 5], [10, 15])})).scalars
    assert table["iteration"].tolist() == [0, 10, 15, 20]
    assert np.array_equal(table["loss/d"], [1, 2, np.nan, 3], equal_nan=True)
    assert np.array_equal(table["loss/g"], [np.nan, 4, 5, np.nan], equal_nan=True)
    assert not table["numerics/nonfinite"].any()


@pytest.mark.parametrize("name", ["loss_d", "gradient_penalty", "D_real", "d_loss_real", "scores/real"])
def test_nan_counts_wherever_the_training_is(name: str) -> None:
    """Also in a penalty, in half of a loss, in what has two readings."""
    table = tabulate(log({name: [1, float("nan"), float("inf")], "loss_g": [1, 1, 1]}))
    assert table.scalars["numerics/nonfinite"].tolist() == [0, 1, 1]


@pytest.mark.parametrize("name", ["fid", "lr", "val/d_loss", "accuracy"])
def test_nan_elsewhere_is_no_matter(name: str) -> None:
    """An FID that was not computed is no broken training."""
    table = tabulate(log({name: [float("nan")] * 3, "loss_g": [1, 1, 1]}))
    assert not table.scalars["numerics/nonfinite"].any()
    assert table.unused == (name,)


def test_of_two_columns_with_one_meaning_the_plainer_is_read() -> None:
    """And the other one is named; its NaN counts all the same."""
    table = tabulate(log({"loss_G_L1": [9, float("nan")], "loss_G": [1, 2]}))
    assert table.read_as["loss/g"] == "loss_G"
    assert table.scalars["numerics/nonfinite"].tolist() == [0, 1]
    assert any("'loss_G_L1' was left out" in note for note in table.notes)


def test_a_loss_that_ends_early_is_shown_and_not_judged() -> None:
    """A torn file of one column is no NaN: analyzers would take the gap at the end for one."""
    table = tabulate(log({"loss_d": series([1.0] * 10), "loss_g": series([1.0] * 20)}))
    assert "loss/d" in table.scalars
    assert "loss/d" not in table.judged
    assert "loss/g" in table.judged
    assert any("'loss_d' ends at step 9" in note for note in table.notes)


def test_a_loss_of_1e39_is_finite() -> None:
    """It is infinite in float32, and the log holds float64."""
    table = tabulate(log({"loss_d": [1e39]}))
    assert np.isfinite(table.scalars["loss/d"]).all()


def test_an_empty_log_is_an_empty_table() -> None:
    """Nothing known, nothing read, no error."""
    table = tabulate(log({"fid": [1.0]}))
    assert table.last == 0
    assert len(table.scalars["iteration"]) == 0
    assert table.read_as == {}
