import numpy as np
import pytest
from helpers.evidence import STEPS, evidence, only

from gandiag.analyzers import ANALYZERS, Skipped

GD101 = ANALYZERS["GD101"]
FAIR = np.full(8, 0.12)
FIVE = np.array([0.2, 0, 0.2, 0.2, 0, 0.2, 0, 0.2])


def test_modes_lost_for_good_are_named_with_their_onset_and_the_last_healthy_snapshot() -> None:
    """Three of eight modes gone from 600 on: critical, sure, since 600, healthy at 400."""
    finding = only(GD101(evidence(shares=[FAIR] * 4 + [FIVE] * 3)))
    assert (finding.severity, finding.confidence) == ("critical", "high")
    assert (finding.first_step, finding.last_step) == (600, 1000)
    assert finding.evidence["missing_modes"] == [1, 4, 6]
    assert finding.evidence["last_healthy_snapshot"] == 400
    assert finding.evidence["missing_real_share"] == pytest.approx(0.375)


def test_modes_never_captured() -> None:
    """Missing from the first snapshot to the last."""
    finding = only(GD101(evidence(shares=[FIVE] * 7)))
    assert finding.first_step == STEPS[0]
    assert finding.evidence["never_captured"] == [1, 4, 6]
    assert finding.evidence["last_healthy_snapshot"] is None


def test_unequal_shares_are_no_missing_modes() -> None:
    """A decent generator differs significantly from its data; half and one and a half times the share are no loss."""
    assert GD101(evidence(shares=[FAIR * np.array([0.5, 1.5] * 4)] * 7)) == []


def test_one_small_mode_is_a_warning() -> None:
    """One mode of 25 is 4 % of the data: worth saying, not a collapse."""
    shares = np.full((7, 25), 0.04)
    shares[3:, 7] = 0
    assert only(GD101(evidence(shares=shares))).severity == "warning"


def test_a_mode_too_small_to_be_seen_missing_is_not_called_missing() -> None:
    """Two fakes are expected of a mode with 0.2 % of the data; none among 1,000 proves nothing."""
    real = np.array([0.998, 0.002])
    assert GD101(evidence(shares=[[0.99, 0.0]] * 7, real_shares=real)) == []


def test_of_a_thousand_modes_their_number_tells() -> None:
    """No single mode of 1,000 can be proved missing at 1,000 samples, but 200 different ones are too few."""
    rng = np.random.default_rng(0)
    perfect = rng.multinomial(1000, np.full(1000, 0.001), size=7) / 1000
    poor = np.column_stack([rng.multinomial(1000, np.full(200, 0.005), size=7) / 1000, np.zeros((7, 800))])
    assert GD101(evidence(shares=perfect)) == []
    finding = only(GD101(evidence(shares=poor)))
    assert finding.severity == "critical"
    assert finding.evidence["expected_of_a_perfect_generator"] == pytest.approx(632, abs=5)


def test_bad_samples_are_not_taken_for_missing_modes() -> None:
    """Where hardly any sample was ever near the data, the rule says that it cannot count modes."""
    (answer,) = GD101(evidence(shares=np.full((7, 8), 0.01)))
    assert isinstance(answer, Skipped)
    assert "has not learnt" in answer.because


def test_without_modes_coverage_speaks_only_where_samples_look_real() -> None:
    """Low coverage with good precision is a finding, with bad precision a refusal."""
    none = {"shares": np.zeros((7, 0)), "captured": (0,) * 7}
    good = only(GD101(evidence(**none, series={"coverage": [0.2] * 7, "precision": [0.95] * 7})))
    assert good.severity == "critical"
    (blurred,) = GD101(evidence(**none, series={"coverage": [0.2] * 7, "precision": [0.3] * 7}))
    assert isinstance(blurred, Skipped)
    assert GD101(evidence(**none)) == []


def test_a_generator_thrown_off_the_data_is_no_mode_collapse() -> None:
    """Complete until 400, nowhere near the data since: a warning, as the cause is for other rules to name."""
    finding = only(GD101(evidence(shares=[FAIR] * 4 + [FAIR * 0.01] * 3)))
    assert (finding.severity, finding.first_step) == ("warning", 600)
    assert finding.evidence["last_healthy_snapshot"] == 400


def test_a_shapeless_cloud_over_all_modes_proves_nothing() -> None:
    """Every mode gets its samples, yet next to nothing of the data is covered: refused, not acquitted."""
    (answer,) = GD101(evidence(shares=[FAIR] * 7, series={"coverage": [0.05] * 7}))
    assert isinstance(answer, Skipped)


def test_a_tiny_cluster_is_worth_an_info() -> None:
    """A found cluster with 1.5 % of the data may be no mode at all."""
    real = np.array([0.985, 0.015])
    run = evidence(shares=[[0.99, 0.0]] * 7, real_shares=real, n_fake=2000)
    assert only(GD101(run)).severity == "info"
