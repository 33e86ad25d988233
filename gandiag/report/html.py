"""The diagnosis as one self-contained HTML file: no script, nothing loaded, every foreign text escaped."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from gandiag.report import words
from gandiag.report.advising import advice_lines
from gandiag.report.plots.base import PLOTS, Picture, Plot
from gandiag.report.text import number, percent, sentence, short
from gandiag.report.view import View, load

if TYPE_CHECKING:
    from gandiag.analyze import Diagnosis

Json = Mapping[str, Any]

#: Rows of the mode table on the page; diagnosis.json has them all.
MAX_MODES = 200


def write(diagnosis: Diagnosis, path: str | Path) -> Path:
    """Write the report of `diagnosis` to the file `path`, folders included; the file appears whole or not at all.

    Raises:
        UsageError: if the file can't be written.
    """
    return save(page(load(diagnosis)), path)


def page(view: View) -> str:
    """The report of one run as an HTML document."""
    diagnosis = view.diagnosis
    head = words.headline(diagnosis)
    plots = sorted(PLOTS, key=lambda plot: plot.order)
    pictures = {plot.name: _draw(plot, view) for plot in plots}
    placed = ("modes", "samples", "embedding", "metrics")
    return render(
        "diagnosis.html.j2",
        head=head,
        head_facts=head_facts(diagnosis, head, counted=view.counted),
        run_name=Path(str(diagnosis.get("run_dir", ""))).name,
        next_lines=words.next_lines(diagnosis, view.command, recorded=view.recorded),
        findings=[_finding(finding) for finding in words.ranked_findings(diagnosis)],
        modes=_modes(diagnosis),
        modes_summary=words.mode_summary(diagnosis.get("modes") or {}),
        metrics=[_metric(name, diagnosis["metrics"]) for name in diagnosis.get("metrics") or {}],
        recommendations=[_recommendation(item, view.command) for item in diagnosis.get("recommendations") or []],
        advice=advice_lines(diagnosis),
        skipped=[(codes, sentence(because)) for codes, because in words.not_judged(diagnosis)],
        blind_spots=[sentence(str(spot)) for spot in diagnosis.get("blind_spots") or []],
        facts=view.facts,
        recorded=view.recorded,
        pictures=pictures,
        titles={plot.name: plot.title for plot in plots},
        training=[plot.name for plot in plots if plot.name not in placed],  # a new figure needs no edit of the template
    )


def head_facts(diagnosis: Json, head: words.Headline, *, counted: str = "iterations") -> list[tuple[str, str]]:
    """The line under the verdict: since when, where it was still good, how long the run was."""
    facts = []
    if head.since is not None:
        facts.append(("since iteration", f"{head.since:,}"))
    if head.last_healthy is not None:
        facts.append(("last healthy snapshot", f"{head.last_healthy:,}"))
    facts.append(("run", Path(str(diagnosis.get("run_dir", ""))).name))
    facts.append((counted, f"{int(diagnosis.get('iterations') or 0):,}"))
    if diagnosis.get("loss_family") not in (None, "unknown"):
        facts.append(("loss", str(diagnosis["loss_family"])))
    return facts


def render(template: str, **values: Any) -> str:
    """Fill one of `templates/` with values; all of them are escaped."""
    from gandiag import __version__

    return _environment().get_template(template).render(version=__version__, style=_style(), **values)


def save(document: str, path: str | Path) -> Path:
    """Write a document through a temporary file beside it."""
    from gandiag.errors import UsageError

    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(document, encoding="utf-8", errors="backslashreplace")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise UsageError(f"cannot write the report to {path}: {error.strerror or error}; name another file") from error
    return path


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gandiag.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["capital"] = lambda text: text[:1].upper() + text[1:]
    return environment


@functools.cache
def _style() -> str:
    from importlib.resources import files

    return files("gandiag.report").joinpath("templates/style.css").read_text(encoding="utf-8")


def _draw(plot: Plot, view: View) -> Picture | None:
    """A figure that fails must not cost the report, at 2 a.m. least of all: the page says what happened instead."""
    try:
        return plot.draw(view)
    except Exception as error:
        return Picture("", f"This figure could not be drawn ({type(error).__name__}: {error}); please report it.")


def _finding(finding: Json) -> Json:
    return {
        **{key: str(finding.get(key, "")) for key in ("code", "name", "severity", "confidence")},
        "span": words.span(finding),
        "message": sentence(str(finding.get("message", ""))),
        "evidence": words.evidence_lines(finding, limit=12),
    }


def _modes(diagnosis: Json) -> Json | None:
    modes = diagnosis.get("modes")
    if not modes or not modes.get("modes"):
        return None
    shown, left_out = words.worst_modes(modes, limit=MAX_MODES)
    rows = [
        {
            "name": words.mode_name(mode),
            "state": str(mode.get("state")),
            "real": percent(number(mode.get("real_share"))),
            "fake": percent(number(mode.get("fake_share"))),
            "spread": short(number(mode.get("spread_ratio"))),
            "p": short(number(mode.get("p_adjusted"))),
        }
        for mode in shown
    ]
    return {"rows": rows, "left_out": left_out}


def _metric(name: str, metrics: Json) -> Json:
    measure = metrics[name]
    return {
        "name": name,
        "measured": words.measured(measure),
        "perfect": words.perfect(measure),
        "reading": words.reading(name, measure, beside=metrics),
        "off": words.is_off(measure),
    }


def _recommendation(item: Json, command: Sequence[str] | None) -> Json:
    return {
        "techniques": words.techniques_text(item.get("techniques") or []),
        "treats": ", ".join(str(code) for code in item.get("treats") or []),
        "reasons": [sentence(str(reason)) for reason in item.get("reasons") or []],
        "cautions": [sentence(str(caution)) for caution in item.get("cautions") or []],
        "line": words.run_line(item.get("techniques") or [], command),
    }
