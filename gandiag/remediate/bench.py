"""The bench that arms are trained on: makes trials, has them run, scores what they leave, and keeps the books."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from gandiag.errors import NothingRecorded, RunDirError, UsageError
from gandiag.remediate.arms import Arm
from gandiag.remediate.executors import Executor, Listener, Outcome
from gandiag.remediate.judge import Judge, RunScore
from gandiag.remediate.plan import Plan


@dataclass(frozen=True)
class Result:
    """One finished trial: of which arm, how it ended, and its judgement."""

    arm: Arm
    outcome: Outcome
    score: RunScore

    @property
    def refused(self) -> bool:
        """Whether it ended before a single iteration: the techniques do not go with this script."""
        return self.outcome.status == "failed" and self.outcome.iterations == 0


class Bench:
    """Trains arms and remembers every result.

    Attributes:
        results: all results so far, in order.
    """

    def __init__(self, plan: Plan, *, executor: Executor, judge: Judge, listener: Listener) -> None:
        self._plan, self._executor, self._judge, self._listener = plan, executor, judge, listener
        self.results: list[Result] = []

    @property
    def spent(self) -> float:
        """What the trainings have cost so far, in recorded runs."""
        return sum(result.outcome.iterations for result in self.results) / self._plan.iterations

    def affords(self, runs: float) -> bool:
        """Whether the budget holds this many more full trainings."""
        assert self._plan.schedule is not None, "a bench without a schedule trains nothing"
        return self.spent + runs <= self._plan.schedule.budget + 0.01

    def train(
        self, arms: Sequence[Arm], *, seeds: Sequence[int], fraction: float = 1.0, stop_early: bool = False
    ) -> list[Result]:
        """Train every arm on every seed; results by arm, then by seed.

        Raises:
            NothingRecorded: if the control, which is the recorded command as it was, recorded nothing.
        """
        jobs = [(arm, seed) for arm in arms for seed in seeds]
        # The slow ones first: a pool ends soonest when what it starts last is short. The sort is stable.
        jobs.sort(key=lambda job: -job[0].cost)
        trials = [self._plan.trial(arm, seed=seed, fraction=fraction, stop_early=stop_early) for arm, seed in jobs]
        outcomes = self._executor.run(trials, listener=self._listener)
        found = [
            Result(arm, outcome, self._score(arm, outcome)) for (arm, _), outcome in zip(jobs, outcomes, strict=True)
        ]
        found.sort(key=lambda result: (arms.index(result.arm), result.outcome.trial.seed_offset))
        self.results += found
        return found

    def of(self, arm: Arm, *, seeds: Sequence[int]) -> list[Result]:
        """The results of `arm` on these seeds, in their order."""
        return [
            each for seed in seeds for each in self.results if (each.arm, each.outcome.trial.seed_offset) == (arm, seed)
        ]

    def _score(self, arm: Arm, outcome: Outcome) -> RunScore:
        is_control = arm == self._plan.control
        if outcome.iterations == 0:
            if is_control:
                raise NothingRecorded(
                    f"the recorded command, run again as it was, recorded no iteration: {outcome.because}\n"
                    f"everything it wrote is in {outcome.trial.run_dir}.stderr.txt"
                )
            return RunScore("undetermined")
        try:
            score = self._judge(outcome.trial.run_dir)
        except (UsageError, RunDirError):
            if is_control:
                raise  # the recorded run could be judged: something is wrong beyond the arms
            return RunScore("undetermined")
        # A training that did not reach its end is worth nothing, however good its last snapshot looks.
        return score if outcome.status == "finished" else dataclasses.replace(score, value=0.0)
