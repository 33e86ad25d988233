"""The order of a remediation: screen the arms, verify the best one against the control, write down what was found.

`execute` runs the command that the run directory names: whoever calls it has looked at `Plan.command`, or
trusts it. Nothing else in gandiag does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gandiag.errors import RunDirError
from gandiag.remediate.arms import Arm
from gandiag.remediate.bench import Bench, Result
from gandiag.remediate.executors import Executor, Listener
from gandiag.remediate.executors import executor as executor_named
from gandiag.remediate.halving import keep_best
from gandiag.remediate.judge import VERDICTS, Judge, judge
from gandiag.remediate.plan import Plan, prepare
from gandiag.remediate.result import ArmResult, Remediation
from gandiag.remediate.snippet import snippet
from gandiag.remediate.verify import Verification, verify

#: Levels of the intervals. Whoever looks twice is fooled twice as often, so the second look has to be surer: with
#: both, an arm that changes nothing is called better in less than one remediation in twenty.
FIRST_LOOK, SECOND_LOOK = 0.95, 0.97


def remediate(
    run_dir: str | Path,
    *,
    arms: int = 3,
    seeds: int = 2,
    budget: float = 8.0,
    executor: str | Executor = "local",
    listener: Listener | None = None,
) -> Remediation:
    """Find a technique that repairs a run, by training the recorded command again with the likely ones.

    This executes the command that the run directory names, without asking: `prepare` shows it before.

    Args:
        run_dir: the recorded run.
        arms: how many recommended sets of techniques to try, besides the unmodified control.
        seeds: on how many seeds, not used for choosing, winner and control are trained in full.
        budget: what all trainings together may cost, in recorded runs.
        executor: "local", "ray", or an object of your own that runs trials.
        listener: told of what happens while it happens.

    Raises:
        RunDirError: if the run directory cannot be read or written.
        UsageError: if it says too little to repeat it, or the budget is too small.
        NothingRecorded: if the recorded command does not work any more.
        MissingExtra: if the executor needs what is not installed.
    """
    runner = executor_named(executor) if isinstance(executor, str) else executor
    plan = prepare(run_dir, arms=arms, seeds=seeds, budget=budget)
    return execute(plan, executor=runner, listener=listener)


def execute(plan: Plan, *, executor: Executor, judge: Judge = judge, listener: Listener | None = None) -> Remediation:
    """Carry out a plan, write `derived/remediation.json`, and return what was found."""
    found = _Course(plan, executor, judge, listener or Listener()).run()
    found.write()
    return found


@dataclass(frozen=True)
class _Comparison:
    """An arm and the control on the same seeds."""

    arm: Arm
    seeds: tuple[int, ...]
    verification: Verification


class _Course:
    """One remediation under way."""

    def __init__(self, plan: Plan, executor: Executor, judge: Judge, listener: Listener) -> None:
        self.plan = plan
        self.listener = listener
        self.bench = Bench(plan, executor=executor, judge=judge, listener=listener)
        self.arms = list(plan.arms[1:])

    def run(self) -> Remediation:
        plan = self.plan
        if plan.healthy:
            return self._answer([], f"{plan.run_dir} is healthy: there is nothing to repair")
        if plan.schedule is None:
            return self._answer(
                [], f"{plan.run_dir} is {plan.verdict}, but no technique is known to treat what was found"
            )
        try:
            plan.home.mkdir()
        except OSError as error:
            raise RunDirError(f"cannot write {plan.home} ({error.strerror}): make the run directory writable") from None
        ranked = self._screen()
        if not ranked:
            return self._answer([], "no arm could be trained to the end; the notes of the arms say why")
        comparisons = self._verify(ranked)
        return self._answer(
            comparisons, "; ".join(f"{each.arm.name}: {each.verification.because}" for each in comparisons)
        )

    def _screen(self) -> list[Arm]:
        """Short trainings on seeds of their own; the arms that are left, best first."""
        assert self.plan.schedule is not None
        rounds = self.plan.schedule.rounds
        if not rounds:
            return self.arms
        left = self.arms
        for seed, each in enumerate(rounds):
            left = left[: each.arms]
            tried = [self.plan.control, *left] if seed == 0 else left
            self._say(f"screening {_names(tried)} for {each.fraction:.0%} of the recorded iterations")
            results = self.bench.train(tried, seeds=[seed], fraction=each.fraction, stop_early=True)
            if seed == 0:
                results += self._substitutes(results, each.fraction)
            alive = [one for one in results if one.arm != self.plan.control and one.outcome.status == "finished"]
            left = keep_best([one.arm for one in alive], [one.score.value for one in alive], max(2, -(-each.arms // 2)))
        return left

    def _substitutes(self, results: Sequence[Result], fraction: float) -> list[Result]:
        """Train the next recommended arms in place of those that do not go with this script."""
        found: list[Result] = []
        reserves = list(self.plan.reserves)
        missing = sum(result.refused for result in results)
        while missing and reserves:
            called, reserves = reserves[:missing], reserves[missing:]
            self.arms += called
            self._say(f"{missing} did not go with this script; trying {_names(called)} instead")
            more = self.bench.train(called, seeds=[0], fraction=fraction, stop_early=True)
            missing = sum(result.refused for result in more)
            found += more
        return found

    def _verify(self, ranked: Sequence[Arm]) -> list[_Comparison]:
        """Full trainings on fresh seeds: the best arm, then one more look if it is not settled and paid for."""
        plan = self.plan
        assert plan.schedule is not None
        # Never offset 0: on it the recorded run failed, and for that it was picked.
        first = max(1, len(plan.schedule.rounds))
        seeds = tuple(range(first, first + plan.schedule.seeds))
        best, *others = ranked
        self._say(f"verifying {best.name} against control, in full, on {len(seeds)} seeds")
        self.bench.train([plan.control, best], seeds=seeds)
        comparisons = [self._compare(best, seeds)]
        found = comparisons[0].verification
        if found.verified:
            return comparisons
        if found.promising and self.bench.affords(2):
            more = seeds[-1] + 1
            self._say("better so far, but not beyond doubt: one more seed")
            self.bench.train([plan.control, best], seeds=[more])
            return [self._compare(best, (*seeds, more), level=SECOND_LOOK)]
        if others and not found.promising and self.bench.affords(len(seeds)):
            self._say(f"{best.name} is not better; verifying {others[0].name}, the second best")
            self.bench.train(others[:1], seeds=seeds)
            comparisons.append(self._compare(others[0], seeds, level=SECOND_LOOK))
        return comparisons

    def _compare(self, arm: Arm, seeds: tuple[int, ...], *, level: float = FIRST_LOOK) -> _Comparison:
        ours, theirs = (self.bench.of(each, seeds=seeds) for each in (arm, self.plan.control))
        found = verify(control=[one.score for one in theirs], arm=[one.score for one in ours], level=level)
        return _Comparison(arm, seeds, found)

    def _answer(self, comparisons: Sequence[_Comparison], message: str) -> Remediation:
        plan = self.plan
        judged = {each.arm: each for each in comparisons}
        won = next((each.arm for each in comparisons if each.verification.verified), None)
        if comparisons and won is None:
            message = f"nothing beats the control, so change nothing ({message})"
        results = {arm: self._result(arm, judged.get(arm), comparisons) for arm in (plan.control, *self.arms)}
        return Remediation(
            run_dir=str(plan.run_dir),
            control=results[plan.control],
            arms=tuple(results[arm] for arm in self.arms),
            winner=results[won] if won else None,
            command=plan.reproduce(won) if won else plan.command,
            snippet=snippet(won.techniques) if won else "",
            message=message,
            healthy=plan.healthy,
        )

    def _result(self, arm: Arm, compared: _Comparison | None, comparisons: Sequence[_Comparison]) -> ArmResult:
        """What to say of an arm: its full trainings where it has them, else its longest screening."""
        plan, stage = self.plan, "verification"
        if arm == plan.control and comparisons:
            mine = self.bench.of(arm, seeds=comparisons[0].seeds)
        elif compared:
            mine = self.bench.of(arm, seeds=compared.seeds)
        else:
            mine, stage = [each for each in self.bench.results if each.arm == arm][-1:], "screening"
        if not mine and arm == plan.control:
            return ArmResult(
                name=arm.name,
                techniques=arm.to_json(),
                seeds=(0,),
                run_dirs=(str(plan.run_dir),),
                scores=(plan.baseline,),
                verdict=plan.verdict,
                stage="recorded",
            )
        return ArmResult(
            name=arm.name,
            techniques=arm.to_json(),
            seeds=tuple(each.outcome.trial.seed_offset for each in mine),
            run_dirs=tuple(each.outcome.trial.run_dir for each in mine),
            scores=tuple(each.score for each in mine),
            verdict=max((each.score.verdict for each in mine), key=VERDICTS.index, default="undetermined"),
            stage=stage,
            note="; ".join(each.outcome.because for each in mine if each.outcome.because),
            verification=compared.verification if compared else None,
        )

    def _say(self, text: str) -> None:
        self.listener.say(text)


def _names(arms: Sequence[Arm]) -> str:
    names = [arm.name for arm in arms]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
