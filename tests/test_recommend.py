"""Recommendations follow from findings and cards."""

from __future__ import annotations

from typing import Any

import pytest

from gandiag.analyzers import Finding
from gandiag.recommend import Option, Recommendation, recommend
from gandiag.rundir import RunInfo
from gandiag.techniques.base import Card


def found(code: str, severity: Any = "critical", confidence: Any = "high") -> Finding:
    return Finding(
        code=code,
        name=code.lower(),
        severity=severity,
        confidence=confidence,
        first_step=1,
        last_step=2,
        message="",
        evidence={},
    )


def card(name: str, treats: dict[str, float], **fields: Any) -> Option:
    made = Card(
        name=name, summary=f"{name} helps", treats=treats, source="Somebody 2020", seams=(), **{"cost": 1.0, **fields}
    )
    return Option(made, {"strength": 1.0})


def names(recommendations: list[Recommendation]) -> list[str]:
    return [recommendation.name for recommendation in recommendations]


INFO = RunInfo(id="test")


def test_nothing_is_recommended_for_a_healthy_run() -> None:
    """Neither without findings nor for what is only worth knowing."""
    assert recommend([], info=INFO) == []
    assert recommend([found("GD203", "info")], info=INFO) == []


def test_the_stronger_evidence_comes_first_and_the_cheaper_at_equal_evidence() -> None:
    """Scores fall with the card's number, then with cost."""
    options = [card("dear", {"GD101": 0.8}, cost=3.0), card("weak", {"GD101": 0.3}), card("cheap", {"GD101": 0.8})]
    ranked = recommend([found("GD101")], info=INFO, options=options)
    assert names(ranked) == ["cheap", "dear", "weak"]
    assert 0 < ranked[-1].score < ranked[0].score < 1
    assert ranked[0].techniques == ({"name": "cheap", "params": {"strength": 1.0}},)
    assert "GD101" in ranked[0].reasons[0]


def test_severity_and_confidence_decide_between_findings() -> None:
    """What cures a sure critical finding goes before what cures a doubtful warning."""
    options = [card("a", {"GD101": 0.6}), card("b", {"GD301": 0.9})]
    assert names(recommend([found("GD101"), found("GD301", "warning", "low")], info=INFO, options=options))[0] == "a"
    assert names(recommend([found("GD101", "warning", "low"), found("GD301")], info=INFO, options=options))[0] == "b"


def test_two_faults_get_a_pair_where_no_single_technique_treats_both() -> None:
    """A pair is named where each half cures what the other does not."""
    options = [card("a", {"GD101": 0.8}), card("b", {"GD301": 0.8}), card("c", {"GD101": 0.7})]
    ranked = recommend([found("GD101"), found("GD301")], info=INFO, options=options)
    assert ranked[0].name == "a + b"
    assert ranked[0].treats == ("GD101", "GD301")
    assert "a + c" not in names(ranked)


def test_what_conflicts_is_never_paired() -> None:
    """Either card may name the other."""
    options = [card("a", {"GD101": 0.8}), card("b", {"GD301": 0.8}, conflicts=("a",))]
    assert not any(
        "+" in name for name in names(recommend([found("GD101"), found("GD301")], info=INFO, options=options))
    )


def test_what_the_run_already_uses_and_what_conflicts_with_it_is_left_out() -> None:
    """Techniques of the recorded run are read from run.json."""
    info = RunInfo(id="test", techniques=[{"name": "a", "params": {}}])
    options = [card("a", {"GD101": 0.9}), card("b", {"GD101": 0.8}, conflicts=("a",)), card("c", {"GD101": 0.1})]
    assert names(recommend([found("GD101")], info=info, options=options)) == ["c"]


def test_the_loss_family_and_the_layers_of_d_are_respected() -> None:
    """A technique for BCE only is not named for hinge; with an unknown loss it is named with a caution."""
    options = [card("smooth", {"GD201": 0.8}, suits=("bce",)), card("any", {"GD201": 0.75}, layers=("BatchNorm2d",))]
    findings = [found("GD201")]
    assert names(recommend(findings, info=INFO, loss_family="bce", options=options)) == ["smooth", "any"]
    assert names(recommend(findings, info=INFO, loss_family="hinge", options=options)) == ["any"]
    unsure = recommend(findings, info=INFO, loss_family="unknown", options=options)
    assert names(unsure) == ["any", "smooth"]
    assert any("not known" in caution for caution in unsure[1].cautions)
    normed = RunInfo(id="test", roles={"discriminator": {"layers": ["Conv2d", "BatchNorm2d"]}})
    assert names(recommend(findings, info=normed, loss_family="bce", options=options)) == ["smooth"]


def test_a_recommendation_says_what_it_does_not_treat() -> None:
    """An untreated finding is a caution, not silence."""
    (only,) = recommend([found("GD101"), found("GD303")], info=INFO, options=[card("a", {"GD101": 0.8})])
    assert "does nothing against GD303" in only.cautions


@pytest.mark.parametrize("code", ["GD101", "GD104", "GD105"])
def test_with_the_real_cards_lost_diversity_calls_for_relativistic_pairing_then_packing(code: str) -> None:
    """The published evidence, as the cards hold it: RpGAN+R1+R2, then PacGAN."""
    assert names(recommend([found(code)], info=INFO, loss_family="bce"))[:2] == ["rpgan_r1_r2", "pacgan"]


def test_with_the_real_cards_exploding_gradients_call_for_a_lipschitz_bound_or_clipping() -> None:
    """Spectral normalisation first, gradient clipping second."""
    assert names(recommend([found("GD301")], info=INFO))[:2] == ["spectral_norm", "grad_clip"]


def test_with_the_real_cards_label_smoothing_is_for_bce_only() -> None:
    """One-sided label smoothing has no meaning for other losses."""
    assert "label_smoothing" in names(recommend([found("GD201")], info=INFO, loss_family="bce"))
    assert "label_smoothing" not in names(recommend([found("GD201")], info=INFO, loss_family="hinge"))
