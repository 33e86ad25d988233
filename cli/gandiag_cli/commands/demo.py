"""`gandiag demo digits`: train a small GAN that collapses (or, with --healthy, one that does not), record, analyze."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Demo(StrEnum):
    """The demos: one plain training script each, in gandiag/demo."""

    RING = "ring"
    GRID = "grid"
    DIGITS = "digits"
    STACKED_DIGITS = "stacked-digits"


def command(
    name: Annotated[Demo, typer.Argument(help="Which data: 8 modes, 25 modes, 10 digits, or 1,000 digit triples.")],
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Training iterations.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of the script.")] = 0,
    healthy: Annotated[bool, typer.Option("--healthy", help="The recipe that does not collapse.")] = False,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="Where to record; default runs/<script>-<date>-<id>.")
    ] = None,
) -> None:
    """Train a small GAN under observation, then analyze the run."""
    from gandiag_cli.launch import launch, package_folder

    script = package_folder() / "demo" / f"{name.replace('-', '_')}.py"
    words = [sys.executable, str(script), "--seed", str(seed)]
    words += ["--steps", str(steps)] if steps else []
    words += ["--healthy"] if healthy else []
    path = launch(words, run_dir=run_dir, options={})

    from gandiag.analyze import analyze
    from gandiag.report import terminal

    with terminal.busy(f"analyzing {path}"):
        diagnosis = analyze(path)
        report = diagnosis.to_html(path / "derived" / "report.html")
    terminal.show(diagnosis, terminal.console(), report=report)
