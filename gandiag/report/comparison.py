"""Two runs side by side: what each was judged, and which of their differences are more than noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gandiag.report import words
from gandiag.report.terminal import TONES, badge, heading, indented
from gandiag.report.text import number, percent, visible

Json = Mapping[str, Any]

SCHEMA = "gandiag.comparison/1"

#: More modes than this are not listed on a terminal; the JSON has all of them.
MAX_MODES = 20


def compare(first: Json, second: Json) -> dict[str, Any]:
    """Put two diagnoses (`Diagnosis.to_json()`) beside each other.

    Returns:
        `{"schema", "runs": [{run_dir, verdict, iterations, findings}, ...], "metrics": {NAME: {"runs": [measure or
        None, ...], "difference", "clear"}}, "modes": {"comparable", "captured", "real", "modes": [...]}}`, always in
        the order first, second. `difference` is second minus first; `clear` says that the two intervals do not touch.
    """
    names = [*first.get("metrics", {}), *(name for name in second.get("metrics", {}) if name not in first["metrics"])]
    return {
        "schema": SCHEMA,
        "runs": [
            {
                "run_dir": run["run_dir"],
                "verdict": run["verdict"],
                "iterations": run["iterations"],
                "findings": [finding["code"] for finding in words.ranked_findings(run)],
            }
            for run in (first, second)
        ],
        "metrics": {name: _metric(first["metrics"].get(name), second["metrics"].get(name)) for name in names},
        "modes": _modes(first.get("modes"), second.get("modes")),
    }


def _metric(first: Json | None, second: Json | None) -> dict[str, Any]:
    difference = number((second or {}).get("value")) - number((first or {}).get("value"))
    finite = math.isfinite(difference)
    apart = (
        first is not None
        and second is not None
        and (
            number(first.get("high")) < number(second.get("low"))
            or number(second.get("high")) < number(first.get("low"))
        )
    )
    return {"runs": [first, second], "difference": difference if finite else None, "clear": finite and apart}


def _modes(first: Json | None, second: Json | None) -> dict[str, Any] | None:
    if not first or not second:
        return None
    tables = [{mode["id"]: mode for mode in table["modes"]} for table in (first, second)]
    # Labels name the same mode in each run. Clusters are found anew in each run's own data: number 3 of one is not 3
    # of the other, so only their counts can be compared.
    comparable = first["source"] == second["source"] == "labels"
    ids = sorted(set(tables[0]) | set(tables[1])) if comparable else []
    return {
        "comparable": comparable,
        "captured": [first["count_captured"], second["count_captured"]],
        "real": [first["count_real"], second["count_real"]],
        "modes": [{"id": key, "runs": [table.get(key) for table in tables]} for key in ids],
    }


def show(compared: Json, console: Console) -> None:
    """Print a comparison."""
    table = Table.grid(padding=(0, 2, 0, 0))
    console.print()
    for letter, run in zip("AB", compared["runs"], strict=True):
        word = words.headline({"verdict": run["verdict"]}).word
        codes = ", ".join(run["findings"]) or "no findings"
        table.add_row(
            Text(letter, style="bold"),
            badge(run["verdict"], word),
            Text.assemble(visible(run["run_dir"]), (f"\n{run['iterations']:,} iterations; {visible(codes)}", "dim")),
        )
    console.print(table)
    if compared["metrics"]:
        _show_metrics(compared["metrics"], console)
    if compared["modes"]:
        _show_modes(compared["modes"], console)


def _show_metrics(metrics: Json, console: Console) -> None:
    heading(console, "Metrics", "value (interval), and what real data would read")
    table = _table("", "A", "B", "perfect", "B against A")
    for name, row in metrics.items():
        first, second = (measure or {} for measure in row["runs"])
        nulls = [measure for measure in (second, first) if measure]
        table.add_row(
            Text(visible(name), style="bold" if row["clear"] else ""),
            words.measured(first),
            words.measured(second),
            words.perfect(nulls[0]).split(" ")[0],
            _change(name, row),
        )
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _change(name: str, row: Json) -> Text:
    """Nearer to what real data read is better, whichever way that is: no metric is best at its largest value."""
    if not row["clear"]:
        return Text("no clear change", style="dim")
    first, second = row["runs"]
    before = abs(number(first["value"]) - number(first["null"]))
    after = abs(number(second["value"]) - number(second["null"]))
    if math.isnan(before) or math.isnan(after):
        return Text("different")
    return Text("better", style="bold green") if after < before else Text("worse", style="bold red")


def _show_modes(modes: Json, console: Console) -> None:
    heading(console, "Modes")
    counts = [
        f"{letter} {captured} of {real}"
        for letter, captured, real in zip("AB", modes["captured"], modes["real"], strict=True)
    ]
    indented(console, f"captured: {', '.join(counts)}")
    if not modes["comparable"]:
        indented(console, "clusters are found in each run anew, so single modes cannot be matched", style="dim")
        return
    changed = [mode for mode in modes["modes"] if len({(run or {}).get("state") for run in mode["runs"]}) > 1]
    if not changed:
        indented(console, "every mode is in the same state in both runs")
        return
    table = _table("mode", "real", "A", "", "B", "")
    for mode in changed[:MAX_MODES]:
        first, second = (run or {} for run in mode["runs"])
        real = number((first or second).get("real_share"))
        table.add_row(visible(mode["id"]), percent(real), *_state(first), *_state(second))
    console.print(Padding(table, (0, 0, 0, 2), expand=False))
    same = len(modes["modes"]) - len(changed)
    rest = max(0, len(changed) - MAX_MODES)
    notes = [f"{rest} more changed" if rest else "", f"{same} in the same state in both" if same else ""]
    indented(console, "; ".join(note for note in notes if note), style="dim")


def _state(mode: Json) -> tuple[str, Text]:
    state = visible(mode.get("state", "absent"))
    return percent(number(mode.get("fake_share"))), Text(state, style=TONES.get(state, ""))


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
