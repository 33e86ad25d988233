import numpy as np
import pytest
from helpers.evidence import evidence, only

from gandiag.analyzers import ANALYZERS, Skipped

GD201 = ANALYZERS["GD201"]
VANISHING = np.exp(-np.arange(1000) / 60) + 1e-6
WON = {"grad/g/total": VANISHING, "d/accuracy": np.minimum(1.0, 0.7 + np.arange(1000) / 500)}


def scalars(**columns: np.ndarray) -> dict:
    return {**evidence().scalars, **{name.replace("__", "/"): column for name, column in columns.items()}}


def test_all_three_signs_together_are_critical() -> None:
    """G's gradient vanished, D judges everything rightly, coverage stays near nothing."""
    finding = only(GD201(evidence(scalars={**scalars(), **WON}, series={"coverage": [0.05] * 7})))
    assert (finding.severity, finding.confidence) == ("critical", "high")
    assert 0 < finding.first_step < 500


@pytest.mark.parametrize("missing", ["grad/g/total", "d/accuracy", "coverage"])
def test_two_signs_are_not_enough(missing: str) -> None:
    """Take away any of the three and nothing is said: a strong D against a good G does its work."""
    columns = {**scalars(), **WON}
    if missing in columns:
        columns[missing] = evidence().scalars[missing]
    coverage = [0.9] * 7 if missing == "coverage" else [0.05] * 7
    assert GD201(evidence(scalars=columns, series={"coverage": coverage})) == []


def test_a_generator_that_still_improves_is_left_alone() -> None:
    """Bad samples, but each snapshot better than the last."""
    rising = {"coverage": list(np.linspace(0.02, 0.45, 7))}
    assert GD201(evidence(scalars={**scalars(), **WON}, series=rising)) == []


def test_losses_alone_decide_nothing() -> None:
    """D's loss at zero and G's at 100, and all else healthy: not a word. Nor for negative losses."""
    for d, g in ((0.0, 100.0), (-50.0, -80.0)):
        assert GD201(evidence(scalars={**scalars(), "loss/d": np.full(1000, d), "loss/g": np.full(1000, g)})) == []


def test_a_critic_has_no_ceiling() -> None:
    """Of a Wasserstein critic the rule says that it cannot judge."""
    (answer,) = GD201(evidence(scalars={**scalars(), **WON}, loss_family="wasserstein"))
    assert isinstance(answer, Skipped)


def test_without_snapshots_it_is_only_a_guess() -> None:
    """No samples to look at: a warning of low confidence."""
    finding = only(GD201(evidence(steps=(), scalars={**scalars(), **WON})))
    assert (finding.severity, finding.confidence) == ("warning", "low")
