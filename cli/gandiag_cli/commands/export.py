"""`gandiag export`: the scalars of a run in a format that other tools read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What `--to` takes."""

    parquet = "parquet"
    csv = "csv"
    tensorboard = "tensorboard"


def command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run directory to read.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; made if missing.")],
    to: Annotated[Format, typer.Option("--to", help="The format to write.")],
) -> None:
    """Write the scalars of a run as Parquet, CSV or TensorBoard events.

    The run may still be going on: what it has recorded so far is written.
    """
    from gandiag.rundir import export

    for path in export(run_dir, to.value, directory):
        print(path)
