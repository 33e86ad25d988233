import numpy as np
from helpers.evidence import evidence, only

from gandiag.analyzers import ANALYZERS, Skipped

GD203 = ANALYZERS["GD203"]
STEPS = tuple(range(100, 1100, 100))


def test_coverage_that_swings_is_found() -> None:
    """Up and down by two thirds, again and again: unstable."""
    finding = only(GD203(evidence(steps=STEPS, series={"coverage": [0.9, 0.2] * 5})))
    assert finding.severity == "critical"
    assert finding.evidence["turning_steps"][0] in STEPS


def test_smaller_swings_are_a_warning() -> None:
    """Up and down by a third."""
    assert only(GD203(evidence(steps=STEPS, series={"coverage": [0.9, 0.55] * 5}))).severity == "warning"


def test_learning_losing_and_settling_are_no_oscillation() -> None:
    """Monotone series, one fall, and the ripple of a good generator."""
    for series in (np.linspace(0, 0.9, 10), [0.9] * 5 + [0.2] * 5, [0.9, 0.8] * 5):
        assert GD203(evidence(steps=STEPS, series={"coverage": list(series)})) == []


def test_circling_outputs_alone_are_an_info() -> None:
    """D's outputs circle and change sign; the samples do not mind: no more than an info."""
    wave = 2 * np.sin(np.arange(1000) / 20)
    columns = {**evidence().scalars, "d/logits/real/mean": wave, "d/logits/fake/mean": -wave}
    assert only(GD203(evidence(steps=STEPS, scalars=columns))).severity == "info"


def test_few_snapshots_cannot_show_it() -> None:
    """Three looks hold no pattern."""
    (answer,) = GD203(evidence(steps=(300, 600, 1000)))
    assert isinstance(answer, Skipped)
