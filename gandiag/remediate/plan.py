"""What would be done about a run: `prepare` reads and decides, and starts nothing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gandiag.analyze import analyze
from gandiag.errors import UsageError
from gandiag.remediate.arms import Arm, choose_arms
from gandiag.remediate.halving import Schedule, schedule
from gandiag.remediate.judge import RunScore, score
from gandiag.remediate.trials import Trial
from gandiag.rundir import RunInfo, RunReader

#: A run of fewer iterations cannot be cut into a screening that says anything.
FEWEST_ITERATIONS = 10


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that `execute` needs to know; only data.

    Attributes:
        run_dir: the run that is to be repaired, absolute.
        verdict: of its diagnosis.
        baseline: its own score. The control arm is trained anew all the same: this run was picked because it failed.
        arms: the control first, then the recommended ones, best first, as many as the budget holds.
        reserves: recommended arms that take the place of one that cannot be applied to this script.
        schedule: how the budget is spent; None where there is nothing to try.
        command: what the run directory says was run, and will be run again.
        cwd: where.
        iterations: how long the recorded run was.
        run_options: further words for `gandiag run`.
        home: the folder for the arms' run directories; does not exist yet.
    """

    run_dir: Path
    verdict: str
    baseline: RunScore
    arms: tuple[Arm, ...]
    reserves: tuple[Arm, ...] = ()
    schedule: Schedule | None = None
    command: tuple[str, ...] = ()
    cwd: str = ""
    iterations: int = 0
    run_options: tuple[str, ...] = ()
    home: Path = Path()

    @property
    def control(self) -> Arm:
        """The unmodified arm."""
        return self.arms[0]

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to repair."""
        return self.verdict == "healthy"

    def trial(self, arm: Arm, *, seed: int, fraction: float, stop_early: bool) -> Trial:
        """One training of `arm` for this fraction of the recorded iterations."""
        name = f"{arm.name}-seed{seed}"
        return Trial(
            name=name,
            command=self.command,
            cwd=self.cwd,
            run_dir=str(self.home / name),
            seed_offset=seed,
            max_iterations=max(1, round(fraction * self.iterations)),
            techniques=arm.techniques,
            run_options=self.run_options,
            parent=str(self.run_dir),
            stop_early=stop_early,
        )

    def reproduce(self, arm: Arm) -> tuple[str, ...]:
        """The command line that trains `arm` once more, for people to type."""
        enabled = [word for technique in arm.techniques for word in ("--enable", technique)]
        return ("gandiag", "run", *self.run_options, *enabled, "--", *self.command)


def prepare(run_dir: str | Path, *, arms: int = 3, seeds: int = 2, budget: float = 8.0) -> Plan:
    """Diagnose a run and decide what to try.

    Args:
        run_dir: the recorded run.
        arms: how many recommended sets of techniques to try, besides the control.
        seeds: on how many seeds winner and control are trained in full.
        budget: what all trainings together may cost, in recorded runs (1 is as many iterations as it had).

    Raises:
        RunDirError: if the run directory cannot be read.
        UsageError: if it says too little (no command, no samples, too few iterations), or the budget is too small.
    """
    # Before the diagnosis, which may take seconds: a wrong number should be answered at once.
    asked = schedule(arms=arms, seeds=seeds, budget=budget)
    reader = RunReader(Path(run_dir).resolve())
    found = analyze(str(reader.path))
    diagnosis = found.to_json()
    verdict = str(diagnosis["verdict"])
    if verdict == "undetermined":
        raise UsageError(
            f"nothing is known to be wrong with {run_dir}: {_why_undetermined(diagnosis)}; record it longer"
        )
    ranked = choose_arms(diagnosis["recommendations"], recorded=reader.info.techniques)
    known: dict[str, Any] = {"run_dir": reader.path, "verdict": verdict, "baseline": score(found)}
    if verdict == "healthy":
        return Plan(**known, arms=(ranked[0],), command=tuple(reader.info.command or ()))
    command, cwd = _recorded_command(reader.info, reader.path)
    fitted = schedule(arms=min(asked.arms, len(ranked) - 1), seeds=seeds, budget=budget) if ranked[1:] else None
    tried = 1 + (fitted.arms if fitted else 0)
    return Plan(
        **known,
        arms=tuple(ranked[:tried]),
        reserves=tuple(ranked[tried:]),
        schedule=fitted,
        command=command,
        cwd=cwd,
        iterations=_iterations(reader),
        run_options=_run_options(reader.info),
        home=_free_folder(reader.path),
    )


def _recorded_command(info: RunInfo, path: Path) -> tuple[tuple[str, ...], str]:
    if not info.command or not info.cwd:
        raise UsageError(
            f"{path} does not say which command trained it (a notebook has none), so it cannot be trained again: put "
            "the training into a script and record it with `gandiag run -- python train.py`"
        )
    if not Path(info.cwd).is_dir():
        raise UsageError(f"{path} was recorded in {info.cwd}, which is not there any more: record it again")
    command = tuple(info.command)
    if command[0].endswith(".py"):
        command = (sys.executable, *command)  # sys.argv of a script that called gandiag.watch itself
    if shutil.which(Path(info.cwd, command[0]) if "/" in command[0] else command[0]) is None:
        raise UsageError(f"{path} was recorded with {command[0]!r}, which cannot be run here: record it again")
    return command, info.cwd


def _iterations(reader: RunReader) -> int:
    recorded = reader.scalars(names=["iteration"]).get("iteration", np.zeros(0, dtype=np.int64))
    iterations = int(recorded[-1]) if len(recorded) else 0
    if iterations < FEWEST_ITERATIONS:
        raise UsageError(
            f"{reader.path} holds {iterations} iterations; a remediation trains arms for as long as the recorded run "
            f"was, so it needs {FEWEST_ITERATIONS} at least, and better enough to tell a good run from a bad one"
        )
    return iterations


def _run_options(info: RunInfo) -> tuple[str, ...]:
    """The names of the networks where the recording had to be told them; it will have to be told again."""
    names = {role: info.options.get(role) for role in ("generator", "discriminator")}
    return tuple(f"--{role}={name}" for role, name in names.items() if isinstance(name, str) and name)


def _free_folder(run_dir: Path) -> Path:
    """`remediation`, or `remediation-2`, ...: earlier remediations are kept, and must not be continued."""
    number, home = 1, run_dir / "remediation"
    while home.exists():
        number += 1
        home = run_dir / f"remediation-{number}"
    return home


def _why_undetermined(diagnosis: Mapping[str, Any]) -> str:
    reasons = [str(skipped["because"]) for skipped in diagnosis["skipped"]]
    return reasons[0] if reasons else "too little was recorded"
