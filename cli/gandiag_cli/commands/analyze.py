"""`gandiag analyze`: what is wrong with a run, how sure that is, and what to do."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gandiag.analyze import Diagnosis

#: From best to worst: `--fail-on` means this one or a worse one.
ORDER = ("healthy", "undetermined", "at-risk", "unstable", "collapsed")


class FailOn(StrEnum):
    """What `--fail-on` takes."""

    at_risk = "at-risk"
    unstable = "unstable"
    collapsed = "collapsed"


def command(
    run_dir: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR",
            help="The run to judge; it may still be going on. Or a log: a folder of TensorBoard events, StyleGAN's "
            "stats.jsonl, a CSV of losses.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the diagnosis as one JSON object.")] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="The report; default RUN_DIR/derived/report.html, of a log none."),
    ] = None,
    fail_on: Annotated[
        FailOn | None, typer.Option("--fail-on", help="Exit with 1 if the verdict is this one or a worse one.")
    ] = None,
) -> None:
    """Diagnose a recorded run, or the log of one: the verdict, the evidence, and what to turn on.

    Exit code 0: done, whatever the verdict; 1: `--fail-on` was reached; 2: the run cannot be read.
    """
    from gandiag.analyze import analyze
    from gandiag.report import terminal

    with terminal.busy(f"analyzing {run_dir}"):
        diagnosis = analyze(run_dir)
        report = _write_report(diagnosis, html)
    if as_json:
        print(json.dumps(diagnosis.to_json(), indent=1, allow_nan=False))
    else:
        terminal.show(diagnosis, terminal.console(), report=report)
    if fail_on is not None and ORDER.index(diagnosis.verdict) >= ORDER.index(fail_on.value):
        raise typer.Exit(1)


def _write_report(diagnosis: Diagnosis, html: Path | None) -> Path | None:
    """Write the report where it was asked for; in the run directory only if that can be written."""
    from gandiag.errors import UsageError

    if html is not None:
        return diagnosis.to_html(html)
    if diagnosis.log is not None:
        return None  # the folder is somebody else's: nothing is written into it unasked
    try:
        return diagnosis.to_html(Path(diagnosis.run_dir) / "derived" / "report.html")
    except UsageError as error:
        # An archive of runs may be read-only: the diagnosis is what was asked for, so it is still given.
        print(f"gandiag: no report: {error} with --html FILE", file=sys.stderr)
        return None
