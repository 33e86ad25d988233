"""`gandiag remediate`: train the recorded command again with the likely techniques, and prove that one helps."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gandiag.remediate import Plan


class ExecutorName(StrEnum):
    """What `--executor` takes."""

    local = "local"
    ray = "ray"


def command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run to repair.")],
    arms: Annotated[int, typer.Option(help="How many candidates, besides the control.")] = 3,
    seeds: Annotated[int, typer.Option(help="Seeds on which winner and control are trained in full.")] = 2,
    budget: Annotated[float, typer.Option(help="What all trainings may cost together, in recorded runs.")] = 8.0,
    executor: Annotated[ExecutorName, typer.Option(help="Where the trainings run.")] = ExecutorName.local,
    yes: Annotated[bool, typer.Option("--yes", help="Run the recorded command without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Find the technique that repairs a run: screen candidates, verify the best against an unmodified control.

    Runs the command that RUN_DIR recorded, again and again; it is shown first, and you are asked. Exit code 0: a
    technique is verified to help (or the run is healthy); 1: nothing beats the control, so change nothing.
    """
    from gandiag.remediate import execute, prepare
    from gandiag.remediate.executors import executor as executor_named
    from gandiag.report import remediation, terminal

    runner = executor_named(executor.value)  # before the diagnosis: a missing extra should be said at once
    with terminal.busy(f"analyzing {run_dir}"):
        plan = prepare(run_dir, arms=arms, seeds=seeds, budget=budget)
    if plan.schedule is not None:
        _show_plan(plan)
        if not yes:
            _ask()

    from gandiag_cli.progress import Progress

    with Progress() as progress:
        found = execute(plan, executor=runner, listener=progress)
    report = found.to_html(plan.run_dir / "derived" / "remediation.html")
    if as_json:
        print(json.dumps(found.to_json(), indent=1, allow_nan=False))
    else:
        remediation.show(found, terminal.console(), report=report)
    raise typer.Exit(0 if found.verified or found.healthy else 1)


def _show_plan(plan: Plan) -> None:
    import shlex

    from gandiag.report.text import visible

    assert plan.schedule is not None, "there is nothing to show where nothing is tried"
    lines = [
        f"{plan.run_dir} is {plan.verdict}.",
        *(f"  {'candidate' if arm.techniques else 'control':10s}{' '.join(arm.techniques)}" for arm in plan.arms),
        f"About {plan.schedule.cost:g} to {plan.schedule.budget:g} times the training of the recorded run "
        f"({plan.iterations:,} iterations), steps of up to {max(arm.cost for arm in plan.arms):.1f} times the time.",
        f"This runs, in {visible(plan.cwd)}:",
        f"  {visible(shlex.join(plan.command))}",
        "What it writes besides, such as checkpoints, it will write again, several times at once.",
    ]
    print("\n".join(lines), file=sys.stderr)


def _ask() -> None:
    from gandiag.errors import UsageError

    if not _somebody_is_there():
        raise UsageError("nobody is there to be asked whether to run this command; if you trust it, add --yes")
    if not typer.confirm("Run it?", err=True):
        raise UsageError("nothing was started")


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()
