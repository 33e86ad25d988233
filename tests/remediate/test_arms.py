"""Which arms a remediation has."""

from __future__ import annotations

from typing import Any

from gandiag.remediate.arms import CONTROL, Arm, choose_arms


def recommended(*names: str, treats: tuple[str, ...] = ("GD101",), **params: Any) -> dict[str, Any]:
    return {"techniques": [{"name": name, "params": params} for name in names], "treats": list(treats)}


def test_control_comes_first_and_the_order_is_kept() -> None:
    """The control arm is always there, also without any recommendation."""
    arms = choose_arms([recommended("rpgan_r1_r2"), recommended("pacgan")], recorded=[])
    assert [arm.name for arm in arms] == [CONTROL, "rpgan_r1_r2", "pacgan"]
    assert arms[0].techniques == ()
    assert [arm.name for arm in choose_arms([], recorded=[])] == [CONTROL]


def test_techniques_are_written_as_enable_takes_them() -> None:
    """Parameters end up in the text that `--enable` parses; `to_json` gives them back."""
    arm = choose_arms([recommended("r1", gamma=0.25)], recorded=[])[1]
    assert arm.techniques == ("r1:gamma=0.25",)
    assert arm.to_json()[0]["params"]["gamma"] == 0.25


def test_recorded_techniques_stay_on_in_every_arm() -> None:
    """The control of a run that had spectral norm has spectral norm: the question is what to add."""
    arms = choose_arms([recommended("pacgan")], recorded=[{"name": "spectral_norm", "params": {}}])
    assert arms[0].techniques == ("spectral_norm",)
    assert arms[1].techniques == ("spectral_norm", "pacgan")


def test_a_conflicting_recorded_technique_makes_room() -> None:
    """RpGAN+R1+R2 holds R1 already; the two must not be on at the same time."""
    arms = choose_arms([recommended("rpgan_r1_r2")], recorded=[{"name": "r1", "params": {"gamma": 1.0}}])
    assert arms[1].techniques == ("rpgan_r1_r2",)


def test_the_same_technique_twice_gets_two_names() -> None:
    """Two strengths of one technique are two arms, with folders of their own; an exact repeat is dropped."""
    weak, strong = recommended("r1", gamma=0.1), recommended("r1", gamma=1.0)
    assert [arm.name for arm in choose_arms([weak, strong, weak], recorded=[])] == [CONTROL, "r1", "r1-2"]


def test_cost_adds_what_each_technique_adds() -> None:
    """The control costs 1; techniques add their own share of a step."""
    assert Arm(CONTROL).cost == 1.0
    assert Arm("r1", ("r1",)).cost > 1.0
