"""What `gandiag score` found, in sentences and on the terminal; `scores_page.py` has the page and the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gandiag.report import words
from gandiag.report.terminal import TONES, badge, bullets, heading, indented, plain_table, show_modes
from gandiag.report.text import number, percent, sentence, short, visible

Json = Mapping[str, Any]

#: Columns from which on a metric's reading has room beside its numbers.
WIDE = 100

#: Names of failures that lose part of the data; the others are told as warnings.
_WORST = ("few outputs (point collapse)", "modes missing")


def headline(data: Json) -> tuple[str, str, str]:
    """Tone, word and sentence of the answer."""
    reading = data.get("reading") or {}
    names, because = list(reading.get("names") or []), list(reading.get("because") or [])
    if not names:
        nothing = str(reading.get("sentence", ""))  # which says as much, but where there was nothing to measure
        return (
            "healthy",
            "NO DIFFERENCE FOUND",
            "Data held against data read like this." if data.get("metrics") else nothing,
        )
    tone = "collapsed" if names[0] in _WORST else "at-risk"
    return tone, str(names[0]).split(" (")[0].upper(), sentence(str(because[0]) if because else "")


def further(data: Json) -> list[str]:
    """What is wrong beside the worst."""
    reading = data.get("reading") or {}
    pairs = zip((reading.get("names") or [])[1:], (reading.get("because") or [])[1:], strict=False)
    return [sentence(f"{name[:1].upper()}{name[1:]}: {because}") for name, because in pairs]


def compared(data: Json) -> list[str]:
    """What samples were compared in, why, and what was done to them before."""
    first = f"in {data.get('embedder')}: {data.get('reason')}" if data.get("reason") else f"in {data.get('embedder')}"
    return [sentence(text) for text in (first, *(data.get("notes") or []))]


def mode_facts(modes: Json) -> list[tuple[str, str]]:
    """What a mode table says as a whole, beside what a perfect generator would read; what is not there is left out."""
    kl, floor = number(modes.get("reverse_kl")), number(modes.get("reverse_kl_floor"))
    hit, expected = number(modes.get("count_hit")), number(modes.get("expected_hit"))
    ours, theirs = number(modes.get("entropy_real")), number(modes.get("entropy_fake"))
    astray = number(modes.get("unassigned_share"))
    facts = [
        ("samples near no mode", percent(astray), np.isfinite(astray)),
        ("modes with at least one sample", f"{hit:.0f}, perfect would hit {expected:.3g}", hit > 0 <= expected),
        ("KL of the shares", f"{short(kl)} nats, perfect would read {short(floor)}", np.isfinite([kl, floor]).all()),
        (
            "entropy of the shares",
            f"{short(theirs)} nats, of the data {short(ours)}",
            np.isfinite([ours, theirs]).all(),
        ),
    ]
    return [(name, text) for name, text, known in facts if known]


def show(data: Json, console: Console, *, written: Sequence[Path] = ()) -> None:
    """Print scores given as plain data (`Scores.to_json()`), and the files that were written."""
    tone, word, why = headline(data)
    first = Table.grid(padding=(0, 2, 0, 0))
    first.add_row(badge(tone, word), Text(visible(why), style=f"bold {TONES[tone]}"))
    console.print()
    console.print(first)
    for text in further(data):
        indented(console, text, by=1)
    indented(console, ", ".join(f"{value} {name}" for name, value in sizes(data)), by=1, style="dim")
    if data.get("cautions"):  # before the figures that they are about
        heading(console, "Mind")
        bullets(console, [sentence(str(caution)) for caution in data["cautions"]])
    _metrics(data.get("metrics") or {}, console)
    modes = data.get("modes") or {}
    show_modes(modes, console)
    facts = "; ".join(f"{name}: {value}" for name, value in mode_facts(modes)) if modes else ""
    if facts:
        indented(console, sentence(facts), style="dim")
    heading(console, "Compared")
    bullets(console, compared(data))
    if written:
        console.print()
    for path in written:
        console.print(Text.assemble(("Written  ", "bold"), visible(path)), soft_wrap=True)


def sizes(data: Json) -> list[tuple[str, str]]:
    """How many samples of each side."""
    return [
        ("real samples", f"{int(number(data.get('n_real'), 0)):,}"),
        ("generated", f"{int(number(data.get('n_fake'), 0)):,}"),
    ]


def _metrics(metrics: Json, console: Console) -> None:
    if not metrics:
        return
    heading(console, "Metrics", "“perfect” is real data against held-out real data")
    wide = console.width >= WIDE
    table = plain_table()
    for column in ("metric", "value (95 %)", "perfect"):
        table.add_column(column, no_wrap=True)
    if wide:
        table.add_column("in words")
    told = []
    for name, measure in metrics.items():
        off, reading = words.is_off(measure), words.reading(name, measure, beside=metrics)
        row = [
            Text(visible(name), style="bold" if off else ""),
            Text(words.measured(measure), style="bold" if off else ""),
            Text(words.perfect(measure), style="dim"),
        ]
        table.add_row(*row, *([Text(reading, style="yellow" if off else "green")] if wide else []))
        told += [f"{name}: {reading}"] if off else []
    console.print(Padding(table, (0, 0, 0, 2), expand=False))
    if not wide:
        bullets(console, told)
        rest = "The other metrics are" if told else "All metrics are"
        indented(console, f"{rest} no different from real data.", style="dim")
