"""`gandiag compare`: two runs side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def command(
    first: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run to compare with, such as the old one.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run to judge, such as the new one.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as one JSON object.")] = False,
) -> None:
    """Show verdicts, metrics and modes of two runs side by side, and which differences are clear of their intervals."""
    from gandiag.analyze import analyze
    from gandiag.report import comparison, terminal

    diagnoses = []
    for run_dir in (first, second):
        with terminal.busy(f"analyzing {run_dir}"):
            diagnoses.append(analyze(run_dir).to_json())
    compared = comparison.compare(*diagnoses)
    if as_json:
        print(json.dumps(compared, indent=1, allow_nan=False))
    else:
        comparison.show(compared, terminal.console())
