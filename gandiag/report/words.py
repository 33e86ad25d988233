"""From numbers to sentences: what the terminal and the HTML report both say.

Everything here is a pure function of the diagnosis as plain data (`Diagnosis.to_json()`). A missing or
non-finite number arrives as `None` or NaN and is spoken of as "not measured", never shown as `nan`.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gandiag.report.text import number, percent, sentence, short, value_text, whole

Json = Mapping[str, Any]

#: Worst first: severity decides the order of findings, confidence breaks ties.
SEVERITIES = ("critical", "warning", "info")
CONFIDENCES = ("high", "medium", "low")

#: What each mode state means, worst first; the order is that of legends and tables.
MODE_STATES = {
    "missing": "never or almost never generated",
    "under": "generated too rarely",
    "shrunken": "generated, but with too little variety inside",
    "over": "generated too often",
    "ok": "as in the data",
}

_VERDICTS = {
    "collapsed": ("COLLAPSED", "The generator has lost part of the data."),
    "unstable": ("UNSTABLE", "The training itself is failing."),
    "at-risk": ("AT RISK", "Something is going wrong; it has not collapsed yet."),
    "undetermined": ("UNDETERMINED", "Too little was recorded to judge this run."),
    "healthy": ("HEALTHY", "No analyzer found a fault: no mode is missing and training is steady."),
}


#: Where an analyzer's evidence names the last snapshot before the fault.
_HEALTHY = "last_healthy_snapshot"


@dataclass(frozen=True)
class Headline:
    """The five-second answer: a word, why, since when, and where it was still good."""

    verdict: str
    word: str
    why: str
    since: int | None
    last_healthy: int | None
    code: str | None


def headline(diagnosis: Json) -> Headline:
    """The verdict in words, told by the finding that decided it."""
    verdict = str(diagnosis.get("verdict", "undetermined"))
    word, general = _VERDICTS.get(verdict, (verdict.upper(), ""))
    finding = deciding(diagnosis)
    if finding is None:
        skipped = diagnosis.get("skipped") or []
        why = str(skipped[0]["because"]) if verdict == "undetermined" and skipped else ""
        return Headline(verdict, word, sentence(why) or general, None, None, None)
    since = whole(finding.get("first_step"))
    return Headline(
        verdict, word, sentence(str(finding["message"])), since, last_healthy(finding), str(finding["code"])
    )


def deciding(diagnosis: Json) -> Json | None:
    """The finding that the verdict rests on: the family that the verdict names, then the most severe, most sure."""
    family = {"collapsed": ("GD1",), "unstable": ("GD2", "GD3")}.get(str(diagnosis.get("verdict")), ("GD",))
    if diagnosis.get("verdict") in ("healthy", "undetermined"):
        return None
    ranked = ranked_findings(diagnosis)
    return next((f for f in ranked if str(f["code"]).startswith(family)), ranked[0] if ranked else None)


def ranked_findings(diagnosis: Json) -> list[Json]:
    """All findings, worst and surest first; within one rank the order of the diagnosis stays."""

    def rank(finding: Json) -> tuple[int, int]:
        severity, confidence = finding.get("severity"), finding.get("confidence")
        return (
            SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES),
            CONFIDENCES.index(confidence) if confidence in CONFIDENCES else len(CONFIDENCES),
        )

    return sorted(diagnosis.get("findings") or [], key=rank)


def last_healthy(finding: Json) -> int | None:
    """The last snapshot before the fault began, where the analyzer named one."""
    evidence = finding.get("evidence") or {}
    return whole(evidence.get(_HEALTHY))


def span(finding: Json) -> str:
    """The steps of a finding: "iterations 1,200–4,000"."""
    first, last = whole(finding.get("first_step")), whole(finding.get("last_step"))
    if first is None:
        return "the whole run"
    if last is None or last <= first:
        return f"iteration {first:,}"
    return f"iterations {first:,}–{last:,}"


def evidence_lines(finding: Json, *, limit: int = 6) -> list[tuple[str, str]]:
    """The key numbers behind a finding as (what, value); long lists are cut with their length said."""
    evidence = finding.get("evidence") or {}
    pairs = [(str(key).replace("_", " "), value_text(value)) for key, value in evidence.items() if key != _HEALTHY]
    if len(pairs) <= limit:
        return pairs
    return [*pairs[:limit], ("", f"and {len(pairs) - limit} more in diagnosis.json")]


def not_judged(diagnosis: Json) -> list[tuple[str, str]]:
    """What was skipped as (codes, reason): rules that lacked the same thing share a line."""
    codes: dict[str, list[str]] = {}
    for item in diagnosis.get("skipped") or []:
        codes.setdefault(str(item["because"]), []).append(str(item["code"]))
    return [(", ".join(those), because) for because, those in codes.items()]


def mode_summary(modes: Json) -> str:
    """One sentence on the mode table."""
    source = {"labels": "from your labels", "clusters": "clusters of the real data"}.get(str(modes.get("source")), "")
    text = f"{modes.get('count_captured')} of {modes.get('count_real')} modes captured"
    counts = mode_counts(modes)
    bad = [f"{count} {state}" for state, count in counts.items() if state != "ok" and count]
    return text + (f" ({source})" if source else "") + (": " + ", ".join(bad) if bad else "")


def mode_counts(modes: Json) -> dict[str, int]:
    """How many modes are in each state, worst state first."""
    states = [str(mode.get("state")) for mode in modes.get("modes") or []]
    return {state: states.count(state) for state in MODE_STATES}


def mode_name(mode: Json) -> str:
    """What to call a mode: its name where it has one, else its number."""
    return str(mode.get("name") or mode.get("label") or mode.get("id"))


def worst_modes(modes: Json, *, limit: int) -> tuple[list[Json], int]:
    """The modes to show when there is room for `limit`, in the table's order, and how many are left out.

    The left-out ones are the healthiest: states in the order of `MODE_STATES`, then the largest gap of shares.
    """
    table = list(modes.get("modes") or [])
    if len(table) <= limit:
        return table, 0
    order = list(MODE_STATES)

    def badness(index: int) -> tuple[int, float]:
        mode = table[index]
        state = order.index(mode["state"]) if mode.get("state") in order else len(order)
        return state, -abs(number(mode.get("real_share"), 0.0) - number(mode.get("fake_share"), 0.0))

    kept = sorted(sorted(range(len(table)), key=badness)[:limit])
    return [table[index] for index in kept], len(table) - limit


def _blurred(metrics: Mapping[str, Json]) -> bool:
    """Whether most samples lie off the data: then an uncovered real row need not belong to a lost mode."""
    precision = metrics.get("precision", {})
    value, null = number(precision.get("value")), number(precision.get("null"))
    return null > 0 and value / null < 0.7


def reading(name: str, measure: Json, *, beside: Mapping[str, Json] = MappingProxyType({})) -> str:
    """What a metric's value means beside its null, in plain words; empty where there is nothing to add.

    Args:
        name: of the metric.
        measure: its value, interval and null.
        beside: the other metrics of the same samples.
    """
    value, null = number(measure.get("value")), number(measure.get("null"))
    if not math.isfinite(value):
        return "could not be measured"
    if not math.isfinite(null):
        return "no held-out real data to compare with"
    low, high = number(measure.get("low"), value), number(measure.get("high"), value)
    null_low, null_high = number(measure.get("null_low"), null), number(measure.get("null_high"), null)
    if low <= null_high and high >= null_low:
        return "no different from real data"
    lost = 1 - value / null if null else math.nan
    worse_than_real = value < null
    if name == "coverage" and worse_than_real:
        if _blurred(beside):
            return f"about {percent(lost)} of the real data has no sample close by: blurred, as precision is low too"
        return f"about {percent(lost)} of the real data is never generated"
    if name == "recall" and worse_than_real:
        return f"the samples span {percent(value / null)} of what real data spans (modes lost, or shrunken)"
    if name == "precision" and worse_than_real:
        return f"about {percent(lost)} of the samples lie off the real data"
    if name == "density":
        return "samples lie in thin regions of the data" if worse_than_real else "samples crowd into the densest spots"
    if name == "vendi":
        return f"{percent(value / null)} of the variety of real data" if null else "more variety than real data"
    if name == "clipped_coverage" and worse_than_real:
        return f"{percent(value)} of the real data is generated as often as it should be"
    if name == "clipped_density" and worse_than_real:
        return f"{percent(value)} of the samples are as good as real data"
    if name == "frechet" and value > null > 0:
        return f"{value / null:,.1f} times as far from the data as real data is from itself"
    if name in ("frechet", "kid") and value > null:
        return "farther from the data than real data is from itself"
    if name == "ndb":
        return f"{percent(value)} of all bins have another share of the samples than of the data"
    if name == "support" and worse_than_real:
        return f"the samples repeat each other as if there were {value:,.0f} or somewhat more different ones"
    if name == "pair_diversity":
        return f"two samples are {percent(value)} as far apart as two of the data"
    if name == "duplicates":
        return f"{percent(value)} of the samples nearly repeat another one; of real data {percent(null)}"
    if name == "copies":
        return f"{percent(value)} of the samples are near copies of real ones; of held-out real data {percent(null)}"
    return "below what real data reads" if worse_than_real else "above what real data reads"


def is_off(measure: Json) -> bool:
    """Whether a metric's interval lies outside its null's; not measured is not off."""
    value, null = number(measure.get("value")), number(measure.get("null"))
    if not (math.isfinite(value) and math.isfinite(null)):
        return False
    low, high = number(measure.get("low"), value), number(measure.get("high"), value)
    return low > number(measure.get("null_high"), null) or high < number(measure.get("null_low"), null)


def measured(measure: Json) -> str:
    """A value with its interval: "0.59 (0.57–0.61)"."""
    return _with_interval(measure, "value", "low", "high")


def perfect(measure: Json) -> str:
    """What real data reads against itself, with its interval."""
    return _with_interval(measure, "null", "null_low", "null_high")


def _with_interval(measure: Json, value: str, low: str, high: str) -> str:
    centre = number(measure.get(value))
    if not math.isfinite(centre):
        return "–"
    ends = number(measure.get(low)), number(measure.get(high))
    if not all(map(math.isfinite, ends)):
        return short(centre)
    return f"{short(centre)} ({short(ends[0])}–{short(ends[1])})"


def technique_text(technique: Json) -> str:
    """A technique as `--enable` takes it: `rpgan_r1_r2:gamma=0.1`."""
    params = ",".join(f"{key}={value}" for key, value in (technique.get("params") or {}).items())
    return f"{technique.get('name')}:{params}" if params else str(technique.get("name"))


def techniques_text(techniques: Sequence[Json]) -> str:
    """A set of techniques in words; the empty set is the unmodified script."""
    return " + ".join(technique_text(technique) for technique in techniques) or "unmodified"


def run_line(techniques: Sequence[Json], command: Sequence[str] | None) -> str:
    """The command line that trains once more with these techniques on."""
    words = ["gandiag", "run"]
    for technique in techniques:
        words += ["--enable", technique_text(technique)]
    tail = shlex.join(command) if command else "python YOUR_SCRIPT.py"
    return f"{shlex.join(words)} -- {tail}"


def next_lines(diagnosis: Json, command: Sequence[str] | None, *, recorded: bool = True) -> list[tuple[str, str]]:
    """What to type next as (what it does, command line); empty for a healthy run without recommendations.

    A log (not `recorded`) names no command and cannot be remediated: there is something to record first.
    """
    recommendations = diagnosis.get("recommendations") or []
    if not recorded:
        return [("record the training, so that its samples can be judged, too", run_line([], None))]
    run_dir = shlex.quote(str(diagnosis.get("run_dir", "RUN_DIR")))
    if not recommendations:
        return []
    first = recommendations[0]["techniques"]
    return [
        ("try the candidates against an unmodified control and keep what is proven", f"gandiag remediate {run_dir}"),
        ("or train again with the first candidate on", run_line(first, command)),
    ]
