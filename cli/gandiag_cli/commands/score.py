"""`gandiag score`: the metrics of generated samples against real ones, from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def command(
    real: Annotated[
        str, typer.Argument(metavar="REAL", help="Real samples: .npy, .npz, .safetensors, or a folder of images.")
    ],
    fake: Annotated[str, typer.Argument(metavar="FAKE", help="Generated samples, of the same kind.")],
    embedder: Annotated[
        str, typer.Option(help="What samples are compared in: a name, or module:function of your own.")
    ] = "auto",
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Class of each real sample; else modes are clusters.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as one JSON object.")] = False,
) -> None:
    """Score generated samples against real ones: each metric with its interval and with what real data would read."""
    from gandiag.report import terminal
    from gandiag.score import score
    from gandiag_cli.samples import load_labels, load_samples

    with terminal.busy("scoring"):
        scores = score(
            real=load_samples(real),
            fake=load_samples(fake),
            labels=None if labels is None else load_labels(labels),
            embedder=embedder,
        ).to_json()
    if as_json:
        print(json.dumps(scores, indent=1, allow_nan=False))
    else:
        terminal.show_scores(scores, terminal.console())
