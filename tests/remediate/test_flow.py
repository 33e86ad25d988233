"""A whole remediation, with trainings that are drawn from a distribution instead of being run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import write_run

from gandiag.errors import NothingRecorded, RunDirError
from gandiag.remediate import Plan, Remediation, execute
from gandiag.remediate.arms import CONTROL, Arm
from gandiag.remediate.executors import Listener, Outcome
from gandiag.remediate.halving import schedule
from gandiag.remediate.judge import Ratio, RunScore
from gandiag.remediate.trials import Trial

ARMS = tuple(Arm(name, (name,), ("GD101",)) for name in ("rpgan_r1_r2", "pacgan", "r1"))
RESERVE = Arm("spectral_norm", ("spectral_norm",), ("GD101",))
COMMAND = ("python", "train.py")

#: From an arm's name and seed offset to its score; 0 means that the technique was refused.
Scores = Callable[[str, int], float]


class Bench:
    """Executor and judge in one: runs nothing, and scores each trial as the test says."""

    def __init__(self, scores: Scores) -> None:
        self.scores = scores
        self.trials: list[Trial] = []

    def run(self, trials: Sequence[Trial], *, listener: Listener) -> list[Outcome]:
        self.trials += trials
        return [self.outcome(trial) for trial in trials]

    def outcome(self, trial: Trial) -> Outcome:
        if self.scores(arm_of(trial), trial.seed_offset) == 0:
            return Outcome(trial, "failed", 0, "gandiag: batch norm in D")
        return Outcome(trial, "finished", trial.max_iterations)

    def judge(self, run_dir: str) -> RunScore:
        trial = next(each for each in self.trials if each.run_dir == run_dir)
        value = float(np.clip(self.scores(arm_of(trial), trial.seed_offset), 0.001, 1))
        verdict = "healthy" if value > 0.8 else "collapsed"
        return RunScore(verdict, value, Ratio(value, 0.01), Ratio(value, 0.01), metrics={"modes_captured": 8 * value})

    def seeds(self, arm: str) -> list[int]:
        return [trial.seed_offset for trial in self.trials if arm_of(trial) == arm]


def arm_of(trial: Trial) -> str:
    return trial.name.rsplit("-seed", 1)[0]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A collapsed run of 1,000 iterations with three candidates and one in reserve."""
    return Plan(
        run_dir=write_run(tmp_path / "run", scalars={}),
        verdict="collapsed",
        baseline=RunScore("collapsed", 0.5),
        arms=(Arm(CONTROL), *ARMS),
        reserves=(RESERVE,),
        schedule=schedule(arms=3, seeds=2, budget=8),
        command=COMMAND,
        cwd="/somewhere",
        iterations=1000,
        home=tmp_path / "run" / "remediation",
    )


def remedy(plan: Plan, bench: Bench) -> Remediation:
    return execute(plan, executor=bench, judge=bench.judge)


def steady(**scores: float) -> Scores:
    """Each arm always near its score."""
    return lambda arm, seed: scores.get(arm, 0.5) + 0.01 * (seed % 3)


def test_the_arm_that_helps_wins(plan: Plan) -> None:
    """Best in screening, verified on other seeds, handed back with command and snippet."""
    bench = Bench(steady(pacgan=0.9))
    found = remedy(plan, bench)
    assert found.verified
    assert found.winner is not None
    assert found.winner.name == "pacgan"
    assert found.command == ("gandiag", "run", "--enable", "pacgan", "--", *COMMAND)
    assert found.snippet.startswith("# pacgan")
    assert found.winner.verification is not None
    assert found.winner.verification.low > 0


def test_control_and_winner_are_compared_on_the_same_fresh_seeds(plan: Plan) -> None:
    """What an arm was chosen on is not what it is judged on, and the recorded run's own seed is used for neither."""
    bench = Bench(steady(pacgan=0.9))
    found = remedy(plan, bench)
    assert found.winner is not None
    assert found.control.seeds == found.winner.seeds == (1, 2)
    assert bench.seeds("r1") == [0]
    full = [trial for trial in bench.trials if trial.max_iterations == plan.iterations]
    assert {trial.seed_offset for trial in full} == {1, 2}
    assert {trial.max_iterations for trial in bench.trials if trial not in full} == {500}


def test_only_screening_is_stopped_early(plan: Plan) -> None:
    """Verification compares whole trainings."""
    bench = Bench(steady(pacgan=0.9))
    remedy(plan, bench)
    assert {trial.max_iterations for trial in bench.trials if trial.stop_early} == {500}


def test_if_nothing_beats_control_nothing_is_recommended(plan: Plan) -> None:
    """No winner, the recorded command, no snippet; the second best had its chance, once."""
    bench = Bench(lambda arm, seed: {CONTROL: 0.8, "pacgan": 0.6}.get(arm, 0.55) + 0.01 * seed)
    found = remedy(plan, bench)
    assert not found.verified
    assert found.winner is None
    assert found.command == COMMAND
    assert found.snippet == ""
    assert "change nothing" in found.message
    assert bench.seeds("rpgan_r1_r2") == [0, 1, 2]
    assert bench.seeds("r1") == [0]
    assert [arm.stage for arm in found.arms] == ["verification", "verification", "screening"]


def test_a_better_arm_that_is_not_beyond_doubt_gets_one_more_seed(plan: Plan) -> None:
    """Two noisy seeds leave it open; the third settles it, within the budget."""
    control = {0: 0.5, 1: 0.3, 2: 0.6, 3: 0.45}
    bench = Bench(lambda arm, seed: 0.95 if arm == "pacgan" else control[seed])
    found = remedy(plan, bench)
    assert found.winner is not None
    assert found.winner.seeds == found.control.seeds == (1, 2, 3)
    assert sum(trial.max_iterations for trial in bench.trials) <= 8 * plan.iterations


def test_the_budget_ends_it(plan: Plan) -> None:
    """Without anything left there is no second look."""
    control = {0: 0.5, 1: 0.3, 2: 0.6}
    bench = Bench(lambda arm, seed: 0.95 if arm == "pacgan" else control[seed])
    assert not remedy(dataclasses.replace(plan, schedule=schedule(arms=3, seeds=2, budget=6)), bench).verified


def test_a_technique_that_does_not_fit_is_replaced(plan: Plan) -> None:
    """An arm that is refused before its first iteration costs nothing: the next recommendation takes its place."""
    bench = Bench(
        lambda arm, seed: {"pacgan": 0.0, "spectral_norm": 0.9}.get(arm, 0.5) + 0.01 * (seed % 2) * (arm != "pacgan")
    )
    found = remedy(plan, bench)
    assert found.winner is not None
    assert found.winner.name == "spectral_norm"
    refused = next(arm for arm in found.arms if arm.name == "pacgan")
    assert refused.verdict == "undetermined"
    assert "batch norm in D" in refused.note


def test_arms_that_all_fail(plan: Plan) -> None:
    """If nothing but the control trains, there is no winner, and nothing is verified."""
    found = remedy(plan, Bench(lambda arm, seed: 0.5 * (arm == CONTROL)))
    assert found.winner is None
    assert "could be trained" in found.message


def test_a_stopped_training_scores_nothing(plan: Plan) -> None:
    """However good its last snapshot looks."""

    class Stopping(Bench):
        def outcome(self, trial: Trial) -> Outcome:
            if arm_of(trial) == "r1":
                return Outcome(trial, "stopped", 200, "every sample was the same")
            return super().outcome(trial)

    found = remedy(plan, Stopping(steady(pacgan=0.9, r1=0.99)))
    assert found.winner is not None
    assert found.winner.name == "pacgan"
    r1 = next(arm for arm in found.arms if arm.name == "r1")
    assert (r1.scores[0].value, r1.note) == (0.0, "every sample was the same")


def test_a_recorded_command_that_does_not_work_any_more(plan: Plan) -> None:
    """If the control records nothing, the end of its stderr is the message."""
    with pytest.raises(NothingRecorded, match="batch norm in D"):
        remedy(plan, Bench(lambda arm, seed: 0.5 * (arm != CONTROL)))


@pytest.mark.parametrize("verdict", ["healthy", "at-risk"])
def test_nothing_to_do(plan: Plan, verdict: str) -> None:
    """A healthy run, and one that no technique treats: nothing is run, and the two are told apart."""
    bench = Bench(steady())
    idle = dataclasses.replace(plan, verdict=verdict, arms=(Arm(CONTROL),), schedule=None)
    found = remedy(idle, bench)
    assert not bench.trials
    assert found.winner is None
    assert found.healthy == (verdict == "healthy")
    assert found.control.run_dirs == (str(plan.run_dir),)


def test_a_folder_that_cannot_be_made(plan: Plan) -> None:
    """One message, before anything is trained."""
    bench = Bench(steady())
    with pytest.raises(RunDirError, match="cannot write"):
        remedy(dataclasses.replace(plan, home=plan.home / "no" / "such"), bench)
    assert not bench.trials


def test_the_json_contract(plan: Plan) -> None:
    """The fields of `gandiag.remediation/1`, on screen and in derived/remediation.json alike."""
    found = remedy(plan, Bench(steady(pacgan=0.9)))
    plain = found.to_json()
    assert list(plain) == ["schema", "control", "arms", "winner", "verified", "command", "snippet"]
    assert plain["schema"] == "gandiag.remediation/1"
    for arm in (plain["control"], *plain["arms"], plain["winner"]):
        assert {"techniques", "seeds", "run_dirs", "metrics", "verdict"} <= set(arm)
        assert len(arm["seeds"]) == len(arm["run_dirs"]) == len(arm["metrics"]["score"]["per_seed"])
    assert plain["control"]["techniques"] == []
    assert plain["winner"]["techniques"][0]["name"] == "pacgan"
    assert json.loads((plan.run_dir / "derived" / "remediation.json").read_text()) == plain


@pytest.mark.parametrize("noise", [0.03, 0.2])
def test_arms_that_change_nothing_are_rarely_verified(plan: Plan, noise: float) -> None:
    """All arms from the control's distribution, best of three chosen, two looks: at most 5 % of remediations."""
    rng = np.random.default_rng(0)
    draws = 300
    wrong = 0
    for index in range(draws):
        scores: dict[tuple[str, int], float] = {}

        def score(arm: str, seed: int, scores: dict[tuple[str, int], float] = scores) -> float:
            return scores.setdefault((arm, seed), float(np.clip(rng.normal(0.45, noise), 0.01, 0.79)))

        wrong += remedy(dataclasses.replace(plan, home=plan.run_dir / f"remediation-{index}"), Bench(score)).verified
    assert wrong / draws <= 0.05
