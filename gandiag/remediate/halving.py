"""Successive halving, and the arithmetic that fits it into a budget.

Short trials for all arms, longer ones for the better half, until two are left (Karnin et al. 2013;
Jamieson & Talwalkar 2016, arXiv:1502.07943).

Costs are counted in recorded runs: one is as many iterations as the run that is to be repaired. Each round
starts its trainings anew with a seed of its own, because a script knows nothing of being continued, and
because what an arm was chosen on must not be what it is judged on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from gandiag.errors import UsageError

#: How much of the training the first round gives each arm; the most that the budget holds. Never less than
#: the last: many collapses show only in the second half.
FRACTIONS = (0.6, 0.5, 0.4)

T = TypeVar("T")


@dataclass(frozen=True)
class Round:
    """A number of arms, and the fraction of the recorded iterations that each is trained for."""

    arms: int
    fraction: float


@dataclass(frozen=True)
class Schedule:
    """How a budget is spent.

    Attributes:
        rounds: of screening, the control taking part in the first; none if there is nothing to choose.
        arms: how many arms are tried.
        seeds: of the verification: control and winner in full on each.
        budget: everything together may cost this much.
    """

    rounds: tuple[Round, ...]
    arms: int
    seeds: int
    budget: float

    @property
    def cost(self) -> float:
        """Of screening and verification, without the second look that what is left may pay for."""
        return _screening_cost(self.rounds) + 2 * self.seeds


def schedule(*, arms: int, seeds: int, budget: float) -> Schedule:
    """Fit up to `arms` arms and `seeds` seeds of verification into `budget`.

    Arms are dropped, last first, where the budget does not hold them all. What is left after the
    verification pays for one more look (another seed, or the runner-up), so that is kept free if it can be.

    Raises:
        UsageError: if the budget does not even hold the verification of a single arm.
    """
    if arms < 1 or seeds < 2:
        raise UsageError(
            f"asked for {arms} arms and {seeds} seeds; at least 1 arm and 2 seeds are needed: from one seed "
            "nobody can tell a cure from luck"
        )
    verification = 2 * seeds
    if not budget >= verification:
        raise UsageError(
            f"a budget of {budget:g} recorded runs does not hold the verification: {seeds} seeds of winner and "
            f"control are {verification} runs; raise --budget or lower --seeds"
        )
    second_look = 2
    for count in range(arms, 1, -1):
        for kept_free in (second_look, 0):
            for fraction in FRACTIONS:
                rounds = _rounds(count, fraction)
                if _screening_cost(rounds) + verification + kept_free <= budget + 1e-9:
                    return Schedule(rounds, count, seeds, budget)
    return Schedule((), 1, seeds, budget)


def keep_best(items: Sequence[T], scores: Sequence[float], count: int) -> list[T]:
    """The `count` items with the highest scores, best first; of equal ones the earlier."""
    order = sorted(range(len(items)), key=lambda index: (-scores[index], index))
    return [items[index] for index in order[:count]]


def _rounds(arms: int, fraction: float) -> tuple[Round, ...]:
    rounds = [Round(arms, fraction)]
    while (left := math.ceil(rounds[-1].arms / 2)) > 2:
        rounds.append(Round(left, min(1.0, 2 * rounds[-1].fraction)))
    return tuple(rounds)


def _screening_cost(rounds: Sequence[Round]) -> float:
    if not rounds:
        return 0.0
    return sum(each.arms * each.fraction for each in rounds) + rounds[0].fraction  # the control, once
