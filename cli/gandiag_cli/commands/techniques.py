"""`gandiag techniques`: what can be switched on, and what is known of each."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from gandiag.advice import Advice
    from gandiag.techniques.base import Card, Technique


def command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The technique to show in full.")] = None,
) -> None:
    """List the techniques, or show one: what it treats, its source, its cost, what to mind, and its code.

    Advice is listed too: what helps and no tool can do to a script.
    """
    from gandiag.advice import ADVICE
    from gandiag.report.terminal import console
    from gandiag.techniques import TECHNIQUES, parse

    out = console()
    if name is None:
        _table([made.card for made in TECHNIQUES], list(ADVICE.values()), out)
    elif name in ADVICE:
        _advice(ADVICE[name], out)
    else:
        made = parse(name)
        _card(made, out)


def _table(cards: list[Card], advice: list[Advice], out: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("name", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("what it does, and the findings it treats")
    for card in cards:
        treats = " ".join(sorted(card.treats, key=lambda code: -card.treats[code]))
        table.add_row(
            Text(card.name, style="bold"),
            f"{card.cost:g} x",
            Text.assemble(card.summary, "\n", (treats, "dim")),
        )
    out.print(table)
    out.print(Text("time: of a training step, over that of a step without it; measured on the demos", style="dim"))
    out.print()
    out.print("Advice, to follow by hand:", style="bold")
    for piece in advice:
        out.print(Text.assemble((piece.name, "bold"), "  ", piece.summary))
    out.print()
    out.print("Switch one on:  gandiag run --enable NAME -- python train.py", soft_wrap=True)
    out.print("Read its card:  gandiag techniques NAME", soft_wrap=True)


def _advice(advice: Advice, out: Console) -> None:
    from rich.text import Text

    from gandiag.report.terminal import bullets, heading

    out.print(Text(advice.name, style="bold"))
    out.print(f"{advice.summary} Advice to follow by hand: no tool can do this to a script.")
    out.print()
    treats = ", ".join(f"{code} ({share:.1f})" for code, share in sorted(advice.treats.items(), key=lambda t: -t[1]))
    for title, value in (("treats", treats), ("why", advice.why), ("how", advice.how), ("source", advice.source)):
        out.print(Text.assemble((f"{title:8}", "dim"), value))
    if advice.cautions:
        heading(out, "Mind")
        bullets(out, advice.cautions)


def _meanings(made: Technique) -> dict[str, str]:
    """What each parameter is, as the class's docstring has it under `Attributes:`."""
    _, _, section = inspect.cleandoc(made.__doc__ or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for line in section.splitlines():
        name, colon, text = line.strip().partition(":")
        if line.startswith("    ") and not line.startswith("     ") and colon:
            key = name
            found[key] = text.strip()
        elif found and line.strip():
            found[key] += " " + line.strip()
    return found


def _card(made: Technique, out: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from gandiag.report.terminal import bullets, heading
    from gandiag.report.words import run_line

    card, params = made.card, made.params()
    out.print(Text(card.name, style="bold"))
    out.print(card.summary)
    out.print()
    facts = Table.grid(padding=(0, 2, 0, 0))
    for fact, value in (
        (
            "treats",
            ", ".join(f"{code} ({share:.1f})" for code, share in sorted(card.treats.items(), key=lambda t: -t[1])),
        ),
        ("source", card.source),
        ("time", f"{card.cost:g} x a step without it, on the demos' small networks"),
        ("acts at", ", ".join(card.seams).replace("_", " ")),
        ("needs a loss", ", ".join(card.suits)),
        ("needs data", ", ".join(card.data)),
        ("needs layers", " or ".join(card.wants)),
        ("not with", ", ".join(card.conflicts)),
        ("not with layers", ", ".join(card.layers)),
        ("start anew", "yes: it changes what the weights mean" if card.restart else ""),
    ):
        if value:
            facts.add_row(Text(fact, style="dim"), Text(value))
    out.print(facts)
    if params:
        meanings = _meanings(made)
        heading(out, "Parameters")
        bullets(out, [f"{key}={value}: {meanings.get(key, '')}" for key, value in params.items()])
    if card.cautions:
        heading(out, "Mind")
        bullets(out, card.cautions)
    heading(out, "Switch it on")
    out.print(Text(f"  {run_line([{'name': card.name, 'params': params}], None)}", style="cyan"), soft_wrap=True)
    if card.snippet:
        heading(out, "Or write it into the script")
        code = card.snippet
        for key, setting in params.items():
            code = code.replace(f"{{{key}}}", str(setting))
        for line in code.splitlines():
            out.print(Text(f"  {line}"), soft_wrap=True)
