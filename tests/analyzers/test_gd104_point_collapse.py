import numpy as np
from helpers.evidence import evidence, only

from gandiag.analyzers import ANALYZERS, Skipped

GD104 = ANALYZERS["GD104"]


def test_one_point_is_critical_from_where_it_began() -> None:
    """All fakes a thousandth as far apart as reals, from the fourth snapshot on."""
    finding = only(GD104(evidence(closeness=np.array([1, 1, 0.9, 0.001, 0.001, 0.001, 0.001]))))
    assert (finding.severity, finding.confidence) == ("critical", "high")
    assert finding.first_step == 400
    assert finding.evidence["last_healthy_snapshot"] == 200


def test_one_good_mode_is_no_point() -> None:
    """Fakes as far apart as the reals of one mode: that is for GD101."""
    assert GD104(evidence(closeness=np.full(7, 0.05), mode_closeness=0.05)) == []


def test_a_handful_of_repeated_samples() -> None:
    """Far apart, yet nine in ten repeat another: the generator knows only some samples by heart."""
    run = evidence(repeats=[0, 0, 0.2, 0.9, 0.9, 0.9, 0.9])
    assert only(GD104(run)).first_step == 400


def test_data_that_repeat_themselves_are_no_collapse() -> None:
    """A discrete data set repeats rows too: only what goes beyond it counts."""
    run = evidence(repeats=[0.9] * 7, repeats_null=0.9)
    assert GD104(run) == []


def test_without_snapshots_the_batches_can_still_accuse_but_not_acquit() -> None:
    """A flat batch statistic is a finding of medium confidence; a lively one says little."""
    flat = {**evidence().scalars, "sample/std_ratio": np.r_[np.ones(300), np.full(700, 0.001)]}
    finding = only(GD104(evidence(steps=(), scalars=flat)))
    assert finding.confidence == "medium"
    assert 250 <= finding.first_step <= 350
    (answer,) = GD104(evidence(steps=()))
    assert isinstance(answer, Skipped)
