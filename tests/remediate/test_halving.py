"""Fitting rounds of screening into a budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gandiag.errors import UsageError
from gandiag.remediate.halving import FRACTIONS, keep_best, schedule


def test_the_defaults_hold_three_arms_and_a_second_look() -> None:
    """3 arms, 2 seeds, 8 runs: half a run each to four trainings, four full ones, two in reserve."""
    found = schedule(arms=3, seeds=2, budget=8)
    assert [(each.arms, each.fraction) for each in found.rounds] == [(3, 0.5)]
    assert found.cost + 2 == found.budget


def test_many_arms_are_halved_until_two_are_left() -> None:
    """Eight, four, then two, each round twice as long, never longer than the recorded run."""
    rounds = schedule(arms=8, seeds=2, budget=100).rounds
    assert [each.arms for each in rounds] == [8, 4]
    assert rounds[1].fraction == 1.0


@given(arms=st.integers(1, 12), seeds=st.integers(2, 5), budget=st.floats(4, 60))
def test_a_schedule_never_costs_more_than_its_budget(arms: int, seeds: int, budget: float) -> None:
    """Whatever is asked: it fits, or it is refused; arms are dropped rather than seeds or length."""
    if budget < 2 * seeds:
        with pytest.raises(UsageError, match="--budget"):
            schedule(arms=arms, seeds=seeds, budget=budget)
        return
    found = schedule(arms=arms, seeds=seeds, budget=budget)
    assert found.cost <= budget + 1e-6
    assert 1 <= found.arms <= arms
    assert found.seeds == seeds
    assert all(each.fraction >= min(FRACTIONS) for each in found.rounds)


@pytest.mark.parametrize(("arms", "seeds", "budget"), [(0, 2, 8), (3, 1, 8), (3, 2, float("nan")), (3, 2, -1)])
def test_nonsense_is_refused(arms: int, seeds: int, budget: float) -> None:
    """No arm, one seed, no budget: each is a message."""
    with pytest.raises(UsageError):
        schedule(arms=arms, seeds=seeds, budget=budget)


def test_the_best_are_kept_and_the_earlier_of_equals() -> None:
    """A tie goes to the arm that was recommended higher."""
    assert keep_best(["a", "b", "c"], [0.5, 0.9, 0.5], 2) == ["b", "a"]
