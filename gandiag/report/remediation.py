"""What a remediation achieved, before and after: on the terminal, and as a self-contained HTML page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gandiag.report import words
from gandiag.report.terminal import TONES, badge, command_line, heading, indented
from gandiag.report.text import number, sentence, short, visible

if TYPE_CHECKING:
    from gandiag.remediate import Remediation
    from gandiag.rundir import Snapshot

Json = Mapping[str, Any]


def write(found: Remediation, path: str | Path) -> Path:
    """Write the before-and-after report to the file `path`.

    Raises:
        UsageError: if the file can't be written.
    """
    from gandiag.report.html import save

    return save(page(found.to_json(), message=found.message, run_dir=found.run_dir, healthy=found.healthy), path)


def show(found: Remediation, console: Console, *, report: str | Path | None = None) -> None:
    """Print the outcome, the arms, and what to type or write to keep the winner."""
    show_json(found.to_json(), console, message=found.message, healthy=found.healthy, report=report)


def outcome(data: Json, *, healthy: bool = False) -> tuple[str, str, str]:
    """Tone, word and sentence of a remediation's answer."""
    if healthy:
        return "healthy", "HEALTHY", "There is nothing to repair."
    winner = data.get("winner")
    if winner is None:
        return "at-risk", "NOT REPAIRED", "Nothing was shown to beat the unmodified control, so change nothing."
    name = words.techniques_text(winner.get("techniques") or [])
    gained = words.measured(winner.get("metrics", {}).get("improvement") or {})
    by = "" if gained == "–" else f": score up by {gained} over {len(winner.get('seeds') or [])} seeds"
    return "healthy", "REPAIRED", f"{name} is better than the unmodified control{by}."


def show_json(
    data: Json, console: Console, *, message: str = "", healthy: bool = False, report: str | Path | None = None
) -> None:
    """Print a remediation given as plain data (`Remediation.to_json()`)."""
    tone, word, answer = outcome(data, healthy=healthy)
    first = Table.grid(padding=(0, 2, 0, 0))
    first.add_row(badge(tone, word), Text(visible(answer), style=f"bold {TONES[tone]}"))
    console.print()
    console.print(first)
    if message:
        indented(console, sentence(message), by=1, style="dim")
    rows = arm_rows(data)
    if rows:
        heading(console, "Arms")
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for column in ("arm", "modes", "score", "verdict"):
            table.add_column(column, no_wrap=column != "arm")
        table.add_column("")
        for row in rows:
            table.add_row(
                Text(visible(row["name"]), style="bold" if row["winner"] else ""),
                row["modes"],
                row["score"],
                Text(visible(row["verdict"]), style=TONES.get(row["verdict"], "")),
                Text(visible(row["note"]), style="bold green" if row["winner"] else "dim"),
            )
        console.print(Padding(table, (0, 0, 0, 2), expand=False))
    if data.get("winner"):
        heading(console, "Train it again")
        command_line(console, shlex.join(data.get("command") or []))
        if data.get("snippet"):
            heading(console, "Or write it into the script")
            for line in str(data["snippet"]).splitlines():
                console.print(Text(f"    {visible(line)}"), soft_wrap=True)
    if report is not None:
        console.print()
        console.print(Text.assemble(("Report  ", "bold"), visible(report)), soft_wrap=True)


def arm_rows(data: Json) -> list[dict[str, Any]]:
    """Each arm, the control first, as texts for a table."""
    control, winner = data.get("control"), data.get("winner")
    return [
        {
            "name": "control (unmodified)" if arm is control and not arm.get("techniques") else _arm_name(arm),
            "winner": winner is not None and arm.get("name") == winner.get("name"),
            "modes": _modes(arm.get("metrics") or {}),
            "score": _value(arm, "score"),
            "coverage": _value(arm, "coverage"),
            "precision": _value(arm, "precision"),
            "gain": words.measured((arm.get("metrics") or {}).get("improvement") or {}),
            "seeds": ", ".join(str(seed) for seed in arm.get("seeds") or []) or "–",
            "verdict": str(arm.get("verdict", "")),
            "note": _note(arm, winner),
        }
        for arm in _all(data)
    ]


def page(data: Json, *, message: str = "", run_dir: str = "", healthy: bool = False) -> str:
    """The before-and-after report as an HTML document."""
    from gandiag.report.html import render
    from gandiag.report.plots import _arms

    tone, word, answer = outcome(data, healthy=healthy)
    control, winner = data.get("control") or {}, data.get("winner")
    before, after = _last_snapshot(control), _last_snapshot(winner or {})
    pictures = [_arms.scores(data)]
    if before is not None and after is not None:
        pictures += [_arms.samples(before=before, after=after), _arms.embeddings(before=before, after=after)]
    return render(
        "remediation.html.j2",
        tone=tone,
        word=word,
        answer=answer,
        message=sentence(message) if message else "",
        run_dir=run_dir,
        rows=arm_rows(data),
        pictures=[picture for picture in pictures if picture is not None],
        command=shlex.join(data.get("command") or []) if winner else "",
        snippet=str(data.get("snippet") or ""),
        run_dirs=[(arm["name"], path) for arm in _all(data) for path in arm.get("run_dirs") or []],
    )


def _all(data: Json) -> list[Json]:
    return [arm for arm in (data.get("control"), *(data.get("arms") or [])) if arm]


def _arm_name(arm: Json) -> str:
    return words.techniques_text(arm.get("techniques") or []) if arm.get("techniques") else str(arm.get("name", "arm"))


def _note(arm: Json, winner: Json | None) -> str:
    if winner is not None and arm.get("name") == winner.get("name"):
        return "winner"
    lines = str(arm.get("note") or "").strip().splitlines()
    if lines:
        return lines[-1]
    return "short trainings only" if arm.get("stage") == "screening" else ""


def _modes(metrics: Json) -> str:
    captured, real = ((metrics.get(name) or {}).get("value") for name in ("modes_captured", "modes_real"))
    return f"{number(captured):.3g} of {number(real):.3g}" if captured is not None and real is not None else "–"


def _value(arm: Json, name: str) -> str:
    return short(number(((arm.get("metrics") or {}).get(name) or {}).get("value")))


def _last_snapshot(arm: Json) -> Snapshot | None:
    """The last readable snapshot of an arm's first training; None where there is none (the page then shows less)."""
    from gandiag.errors import RunDirError
    from gandiag.rundir import RunReader

    for run_dir in arm.get("run_dirs") or []:
        try:
            run = RunReader(run_dir)
            return run.snapshot(run.snapshot_steps()[-1])
        except (RunDirError, IndexError):
            continue  # a stopped or failed training leaves none; the next seed may have one
    return None
