"""`gandiag run -- python train.py`: record a training script that knows nothing of gandiag."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PASS_THROUGH = True


def command(
    context: typer.Context,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="Where to record; default runs/<script>-<date>-<id>.")
    ] = None,
    generator: Annotated[
        str | None, typer.Option("--generator", help="The generator: a class name or a global variable of the script.")
    ] = None,
    discriminator: Annotated[str | None, typer.Option("--discriminator", help="The discriminator, likewise.")] = None,
    enable: Annotated[
        list[str] | None,
        typer.Option("--enable", metavar="TECH[:k=v,...]", help="A technique to turn on, such as r1:gamma=0.1."),
    ] = None,
    taint: Annotated[
        bool, typer.Option("--taint", help="Follow every tensor operation of the first iterations: more labels.")
    ] = False,
    seed_offset: Annotated[int, typer.Option("--seed-offset", hidden=True)] = 0,
    max_iterations: Annotated[int | None, typer.Option("--max-iterations", hidden=True, min=1)] = None,
    parent: Annotated[str | None, typer.Option("--parent", hidden=True)] = None,
) -> None:
    """Record a training command, unchanged: gandiag run [OPTIONS] -- python train.py ..."""
    from gandiag_cli.launch import launch

    if enable:
        from gandiag.advice import ADVICE
        from gandiag.errors import UsageError
        from gandiag.techniques import parse

        for text in enable:  # a misspelt name must not cost the start of a training
            if text in ADVICE:
                raise UsageError(
                    f"{text} is advice, which no tool can follow in a script's place; `gandiag techniques {text}` says "
                    "how to begin"
                )
            parse(text)
    options = {
        "generator": generator,
        "discriminator": discriminator,
        "techniques": enable or [],
        "taint": taint or None,
        "seed_offset": seed_offset,
        "max_iterations": max_iterations,
        "parent": parent,
    }
    path = launch(context.args, run_dir=run_dir, options=options)
    typer.echo(f"gandiag: next: gandiag analyze {path}", err=True)
