import numpy as np
import pytest
from helpers.evidence import evidence, only

from gandiag.analyzers import ANALYZERS

GD303 = ANALYZERS["GD303"]


def flagged(rows: slice | list[int]) -> dict:
    column = np.zeros(1000)
    column[rows] = 1
    return {**evidence().scalars, "numerics/nonfinite": column}


def test_nan_to_the_end_is_critical_from_its_first_iteration() -> None:
    """Gradients are NaN from iteration 801 on: the training is dead."""
    finding = only(GD303(evidence(scalars=flagged(slice(800, None)))))
    assert (finding.severity, finding.first_step, finding.last_step) == ("critical", 801, 1000)
    assert finding.evidence["last_healthy_snapshot"] == 800


def test_a_loss_that_turns_nan_is_seen_without_any_flag() -> None:
    """The loss was there at every iteration and then never again."""
    columns = {name: values for name, values in evidence().scalars.items() if name != "numerics/nonfinite"}
    columns["loss/g"] = np.r_[columns["loss/g"][:900], np.full(100, np.nan)]
    assert only(GD303(evidence(scalars=columns))).first_step == 901


def test_skipped_steps_of_mixed_precision_are_an_info() -> None:
    """Three iterations of a thousand, recovered from."""
    assert only(GD303(evidence(scalars=flagged([1, 400, 800])))).severity == "info"


def test_a_scale_that_finds_its_level_is_an_info_however_short_the_run() -> None:
    """The first 100 of 1,000 steps were left out by a GradScaler, as many as would be a warning without it."""
    columns = {**flagged(slice(0, 100)), "skipped/d": np.r_[np.ones(100), np.zeros(900)], "skipped/g": np.zeros(1000)}
    finding = only(GD303(evidence(scalars=columns)))
    assert (finding.severity, finding.evidence["iterations_skipped"]) == ("info", 100)
    del columns["skipped/d"]
    assert only(GD303(evidence(scalars=columns))).severity == "warning"


@pytest.mark.parametrize(("last", "severity"), [(3, "info"), (16, "info"), (17, "critical")])
def test_steps_that_are_left_out_to_the_end(last: int, severity: str) -> None:
    """A few may be the scale coming down once more; where they do not end, the training does nothing any more."""
    columns = {**flagged(slice(1000 - last, None)), "skipped/g": np.r_[np.zeros(1000 - last), np.ones(last)]}
    assert only(GD303(evidence(scalars=columns))).severity == severity


def test_a_loss_that_is_not_finite_is_no_matter_of_the_scale() -> None:
    """Steps left out because D's loss itself was NaN, three to the end: dead."""
    columns = {**flagged(slice(997, None)), "skipped/d": np.r_[np.zeros(997), np.ones(3)]}
    columns["loss/d"] = np.r_[columns["loss/d"][:997], np.full(3, np.nan)]
    assert only(GD303(evidence(scalars=columns))).severity == "critical"


def test_often_is_a_warning() -> None:
    """One iteration in ten."""
    assert only(GD303(evidence(scalars=flagged(list(range(0, 990, 10)))))).severity == "warning"


def test_a_column_that_is_measured_now_and_then_holds_no_nan() -> None:
    """NaN where nothing was measured is not a NaN of the training."""
    columns = dict(evidence().scalars)
    columns["loss/g"] = np.where(np.arange(1000) % 5 == 0, columns["loss/g"], np.nan)
    assert GD303(evidence(scalars=columns)) == []


def test_samples_with_nan() -> None:
    """A snapshot whose fakes hold NaN, later than all that could be judged."""
    finding = only(GD303(evidence(broken={1100: 1.0})))
    assert finding.severity == "critical"
    assert finding.last_step == 1100
