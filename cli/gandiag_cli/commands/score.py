"""`gandiag score`: the metrics of generated samples against real ones, from files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def command(
    real: Annotated[
        str,
        typer.Argument(
            metavar="REAL",
            help="Real samples: .npy, .npz or .safetensors (FILE:NAME picks one array of several), or a folder of "
            "images.",
        ),
    ],
    fake: Annotated[str, typer.Argument(metavar="FAKE", help="Generated samples, of the same shape.")],
    embedder: Annotated[
        str, typer.Option(help="What samples are compared in: a name, or module:function of your own.")
    ] = "auto",
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Class of each real sample, as an array or one number a line; images are counted by path. Without "
            "it, modes are clusters.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as one JSON object.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as one self-contained page.")
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option("--png", metavar="FILE", help="Write the figures: one .png, or a folder with one each."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where to compute, such as cuda; default: cpu.")] = None,
) -> None:
    """Score generated samples against real ones: what is wrong, by name, and each metric beside what data would read.

    Exit code 0: done, whatever was found; 2: the samples cannot be read or compared.
    """
    from gandiag.errors import UsageError
    from gandiag.report import scores, scores_page, terminal
    from gandiag.score import score
    from gandiag_cli.bars import SampleBar
    from gandiag_cli.images import ImageFolder
    from gandiag_cli.samples import load_labels, load_samples

    # What cannot be written is said now, and not after the work.
    if html is not None:
        scores_page.prepare(html)
    if png is not None:
        scores_page.prepare(png, figures=True)
    if ":" in embedder:
        sys.path.insert(0, "")  # as for `python -m`: the user's module lies where the user is
    with terminal.busy("reading"):
        sources = {"real": load_samples(real), "fake": load_samples(fake)}
        classes = None if labels is None else load_labels(labels)
    if classes is not None and isinstance(sources["real"], ImageFolder):
        sources["real"].note_order()
    totals = {name: len(source) for name, source in sources.items()}
    with SampleBar(totals) as bar:
        found = score(**sources, labels=classes, embedder=embedder, device=device, progress=bar)
    written, unwritten = [], None
    try:
        with terminal.busy("drawing"):
            if html is not None:
                written.append(found.to_html(html))
            if png is not None:
                written += found.to_png(png)
    except UsageError as error:
        unwritten = error  # a full disk, say: the scores are printed all the same
    if as_json:
        print(json.dumps(found.to_json(), indent=1, allow_nan=False))
    else:
        scores.show(found.to_json(), terminal.console(), written=written)
    if unwritten is not None:
        raise unwritten
