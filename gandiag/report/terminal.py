"""The diagnosis on a terminal: the answer in the first lines, the evidence below.

Everything is built from `rich.text.Text`, never from markup, and every foreign text goes through `visible`: a
run directory can neither steer the terminal nor style the output.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gandiag.report import words
from gandiag.report.advising import advice_lines
from gandiag.report.text import number, percent, sentence, visible

if TYPE_CHECKING:
    from gandiag.analyze import Diagnosis

Json = Mapping[str, Any]

TONES = {
    "collapsed": "red",
    "unstable": "magenta",
    "at-risk": "yellow",
    "undetermined": "blue",
    "healthy": "green",
    "critical": "red",
    "warning": "yellow",
    "info": "blue",
    "missing": "red",
    "under": "yellow",
    "shrunken": "yellow",
    "over": "magenta",
    "ok": "green",
}

#: More modes than this scroll the verdict away: the worst ones are shown, the rest is counted.
MAX_MODES = 16
BAR = 12
#: A report that fills a wide screen is no easier to read.
WIDEST = 110


def console(stream: Literal["stdout", "stderr"] = "stdout") -> Console:
    """A console for the command line: a character that the stream can't encode becomes `?`, not an error."""
    out = getattr(sys, stream)
    if hasattr(out, "reconfigure"):
        out.reconfigure(errors="replace")
    made = Console(file=out, highlight=False, markup=False, emoji=False)
    if made.width > WIDEST:
        made.width = WIDEST
    return made


@contextmanager
def busy(what: str) -> Iterator[None]:
    """A spinner on stderr while something slow runs; nothing at all where stderr is no terminal."""
    err = console("stderr")
    if not err.is_terminal:
        yield
        return
    with err.status(Text(visible(what))):
        yield


def show(diagnosis: Diagnosis, console: Console, *, report: str | Path | None = None) -> None:
    """Print a diagnosis; `report` is the path of the HTML report to name at the end."""
    from gandiag.rundir import RunReader

    recorded = diagnosis.log is None
    counted = "iterations" if diagnosis.log is None else diagnosis.log.log.axis
    command = RunReader(diagnosis.run_dir).info.command if recorded else None
    show_json(diagnosis.to_json(), console, command=command, report=report, recorded=recorded, counted=counted)


def show_json(
    diagnosis: Json,
    console: Console,
    *,
    command: Sequence[str] | None = None,
    report: str | Path | None = None,
    recorded: bool = True,
    counted: str = "iterations",
) -> None:
    """Print a diagnosis given as plain data (`Diagnosis.to_json()`).

    Args:
        diagnosis: what to print.
        console: where to.
        command: the recorded command line, where there is one.
        report: the HTML report to name at the end.
        recorded: False where the diagnosis is that of a log.
        counted: what the steps count.
    """
    _verdict(diagnosis, console, counted)
    _findings(diagnosis, console)
    show_modes(diagnosis.get("modes") or {}, console)
    _metrics(diagnosis, console)
    _not_judged(diagnosis, console)
    _recommendations(diagnosis, console)
    _advice(diagnosis, console)
    _next(console, words.next_lines(diagnosis, command, recorded=recorded))
    if report is not None:
        console.print()
        console.print(Text.assemble(("Report  ", "bold"), visible(report)), soft_wrap=True)


def heading(console: Console, title: str, note: str = "") -> None:
    """A section title with an empty line above."""
    console.print()
    console.print(Text.assemble((title, "bold"), ("  " + visible(note) if note else "", "dim")))


def badge(verdict: str, word: str) -> Text:
    """The verdict as a coloured word; without colours the word alone still says it."""
    return Text(f" {visible(word)} ", style=f"bold white on {TONES.get(verdict, 'blue')}")


def indented(console: Console, text: Text | str, *, by: int = 2, style: str = "") -> None:
    """A wrapped paragraph with a left margin."""
    body = Text(visible(text), style=style) if isinstance(text, str) else text
    console.print(Padding(body, (0, 0, 0, by), expand=False))


def command_line(console: Console, line: str) -> None:
    """A command to copy: alone on its line and never wrapped by us, as a wrapped one does not paste."""
    console.print(Text(f"    {visible(line)}", style="cyan"), soft_wrap=True)


def bullets(console: Console, items: Iterable[str]) -> None:
    """Items with a dash and a hanging indent."""
    for item in items:
        grid = Table.grid(padding=(0, 1))
        grid.add_row("  -", Text(visible(item)))
        console.print(grid)


def _verdict(diagnosis: Json, console: Console, counted: str) -> None:
    head = words.headline(diagnosis)
    tone = TONES.get(head.verdict, "blue")
    console.print()
    first = Table.grid(padding=(0, 2, 0, 0))
    first.add_row(badge(head.verdict, head.word), Text(visible(head.why), style=f"bold {tone}"))
    console.print(first)
    parts = []
    if head.since is not None:
        parts.append(f"since iteration {head.since:,}")
    if head.last_healthy is not None:
        parts.append(f"last healthy snapshot: iteration {head.last_healthy:,}")
    elif head.since is not None:
        parts.append("no healthy snapshot before it")
    if parts:
        indented(console, sentence("; ".join(parts)), by=1)
    loss = diagnosis.get("loss_family")
    known = f", {loss} loss" if loss not in (None, "unknown") else ""
    iterations = int(diagnosis.get("iterations") or 0)
    indented(console, f"{diagnosis.get('run_dir')}: {iterations:,} {counted}{known}", by=1, style="dim")


def _findings(diagnosis: Json, console: Console) -> None:
    findings = words.ranked_findings(diagnosis)
    if not findings:
        return
    heading(console, "Findings")
    for finding in findings:
        tone = TONES.get(str(finding.get("severity")), "blue")
        console.print(
            Text.assemble(
                ("  " + visible(finding["code"]), f"bold {tone}"),
                (f" {visible(finding['name'])}", "bold"),
                (f"  {visible(finding['severity'])}, {visible(finding['confidence'])} confidence, ", tone),
                (words.span(finding), "dim"),
            )
        )
        indented(console, sentence(str(finding["message"])), by=8)
        evidence = words.evidence_lines(finding)
        if evidence:
            indented(console, "; ".join(f"{key} {value}".strip() for key, value in evidence), by=8, style="dim")


def show_modes(modes: Json, console: Console) -> None:
    """Print the mode table (`ModeTable.to_json()`), the worst modes only where there are many."""
    shown, left_out = words.worst_modes(modes, limit=MAX_MODES)
    if not shown:
        return
    heading(console, "Modes")
    indented(console, sentence(words.mode_summary(modes)))
    shares = [(number(mode.get("real_share"), 0.0), number(mode.get("fake_share"), 0.0)) for mode in shown]
    widest = max(max(pair) for pair in shares) or 1.0
    table = plain_table()
    table.add_column("mode", overflow="ellipsis", no_wrap=True, max_width=14)
    table.add_column("real", no_wrap=True)
    table.add_column("fake", no_wrap=True)
    table.add_column("spread", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for mode, (real, fake) in zip(shown, shares, strict=True):
        state = visible(mode.get("state"))
        tone = TONES.get(state, "blue")
        table.add_row(
            visible(words.mode_name(mode)),
            _bar(console, real / widest, percent(real), "dim"),
            _bar(console, fake / widest, percent(fake), tone),
            percent(number(mode.get("spread_ratio"))),
            Text(state, style=tone if state == "ok" else f"bold {tone}"),
        )
    console.print(Padding(table, (0, 0, 0, 2), expand=False))
    if left_out:
        indented(console, f"and {left_out} more, nearest to right: see the report", style="dim")


def _bar(console: Console, share: float, note: str, style: str) -> Text:
    """A share of the column's width in eighths of a cell, with its number; whole `#` where blocks can't be printed."""
    eighths = round(8 * BAR * min(max(share, 0.0), 1.0))
    if console.options.ascii_only:
        bar = "#" * round(eighths / 8)
    else:
        bar = "█" * (eighths // 8) + ("▏▎▍▌▋▊▉"[eighths % 8 - 1] if eighths % 8 else "")
    return Text.assemble((f"{note:>7} "), (f"{bar:<{BAR}}", style))


def _metrics(diagnosis: Json, console: Console) -> None:
    metrics = diagnosis.get("metrics") or {}
    if not metrics:
        return
    heading(console, "Metrics", "“perfect” is real data against held-out real data")
    grid = plain_table(header=False)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for name, measure in metrics.items():
        style = "bold" if words.is_off(measure) else ""
        grid.add_row(Text(visible(name), style=style), _measure(name, measure, metrics))
    console.print(Padding(grid, (0, 0, 0, 2), expand=False))


def _measure(name: str, measure: Json, beside: Json) -> Text:
    """One metric as a sentence: `0.59 (0.57–0.61), perfect would read 0.96 (0.95–0.97): about 39 % of ...`."""
    off = words.is_off(measure)
    return Text.assemble(
        (words.measured(measure), "bold" if off else ""),
        (f", perfect would read {words.perfect(measure)}: ", "dim"),
        (words.reading(name, measure, beside=beside), "yellow" if off else "green"),
    )


def _not_judged(diagnosis: Json, console: Console) -> None:
    skipped, blind = words.not_judged(diagnosis), diagnosis.get("blind_spots") or []
    if skipped:
        heading(console, "Not judged")
        bullets(console, [f"{codes}: {because}" for codes, because in skipped])
    if blind:
        heading(console, "Blind spots")
        bullets(console, [str(spot) for spot in blind])


def _recommendations(diagnosis: Json, console: Console) -> None:
    recommendations = diagnosis.get("recommendations") or []
    if not recommendations:
        return
    heading(console, "Recommended")
    for rank, item in enumerate(recommendations[:3], start=1):
        treats = ", ".join(str(code) for code in item.get("treats") or [])
        console.print(
            Text.assemble(
                f"  {rank}. ",
                (visible(words.techniques_text(item.get("techniques") or [])), "bold"),
                (f"  for {visible(treats)}" if treats else "", "dim"),
            )
        )
        for reason in (item.get("reasons") or [])[:2]:
            indented(console, sentence(str(reason)), by=5)
        if rank == 1:  # what one would type next; the report has the cautions of all
            for caution in (item.get("cautions") or [])[:3]:
                indented(console, "Mind: " + sentence(str(caution)), by=5, style="yellow")


def _advice(diagnosis: Json, console: Console) -> None:
    lines = advice_lines(diagnosis)
    if lines:
        heading(console, "What no technique can do")
        bullets(console, [f"{name}: {text}" for name, text in lines])


def _next(console: Console, lines: Sequence[tuple[str, str]]) -> None:
    if not lines:
        return
    heading(console, "What to type next")
    for what, line in lines:
        indented(console, sentence(what).rstrip(".") + ":")
        command_line(console, line)


def plain_table(*, header: bool = True) -> Table:
    """A table without lines."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=header, header_style="dim")
