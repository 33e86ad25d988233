"""What a remediation achieved, before and after."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from helpers.diagnoses import HOSTILE, snapshot
from helpers.runs import write_run
from rich.console import Console

from gandiag.report import remediation


def arm(name: str, techniques: list[dict[str, Any]], scores: list[float | None], **fields: Any) -> dict[str, Any]:
    known = [score for score in scores if score is not None]
    return {
        "name": name,
        "techniques": techniques,
        "seeds": list(range(len(scores))),
        "run_dirs": [],
        "metrics": {
            "score": {"value": sum(known) / len(known) if known else None, "per_seed": scores},
            "modes_captured": {"value": 7.0, "per_seed": [7.0]},
            "modes_real": {"value": 8.0, "per_seed": [8.0]},
        },
        "verdict": "healthy",
        "stage": "verification",
        "note": "",
        **fields,
    }


def repaired(**fields: Any) -> dict[str, Any]:
    """A remediation that r1 won."""
    winner = arm("r1", [{"name": "r1", "params": {"gamma": 0.1}}], [0.9, 0.94])
    winner["metrics"]["improvement"] = {"value": 0.4, "low": 0.3, "high": 0.5, "per_seed": [0.38, 0.42]}
    return {
        "schema": "gandiag.remediation/1",
        "control": arm("control", [], [0.5, 0.52], verdict="collapsed"),
        "arms": [winner, arm("pacgan", [{"name": "pacgan", "params": {"m": 2}}], [None], note="failed:\nno rows")],
        "winner": winner,
        "verified": True,
        "command": ["gandiag", "run", "--enable", "r1:gamma=0.1", "--", "python", "train.py"],
        "snippet": "loss_d = loss_d + penalty",
        **fields,
    }


def printed(data: dict[str, Any], **kwargs: Any) -> str:
    stream = io.StringIO()
    remediation.show_json(data, Console(file=stream, width=100, highlight=False), **kwargs)
    return stream.getvalue()


def test_a_winner_is_named_with_its_gain_and_what_to_do() -> None:
    """Word, technique, interval, table of arms, command line and snippet."""
    text = printed(repaired())
    for part in (
        "REPAIRED",
        "r1:gamma=0.1 is better",
        "0.40 (0.30–0.50)",
        "7 of 8",
        "no rows",
        "loss_d = loss_d + penalty",
    ):
        assert part in text
    assert "    gandiag run --enable r1:gamma=0.1 -- python train.py\n" in text


def test_no_winner_means_change_nothing() -> None:
    """An honest no: no command line, no snippet."""
    text = printed(repaired(winner=None, verified=False))
    assert "NOT REPAIRED" in text
    assert "change nothing" in text
    assert "gandiag run" not in text


def test_a_healthy_run_is_left_alone() -> None:
    """There is nothing to repair, and that is no failure."""
    assert "HEALTHY" in printed({"control": arm("control", [], []), "arms": [], "winner": None}, healthy=True)


def test_the_page_shows_both_sides(tmp_path: Path) -> None:
    """Samples of control and winner stand beside each other where both left a snapshot."""
    data = repaired()
    for key in ("control", "winner"):
        shot = vars(snapshot(d=5))
        known = {name: value for name, value in shot.items() if value is not None and name != "meta"}
        data[key]["run_dirs"] = [str(write_run(tmp_path / key, scalars={"loss/d": [1.0]}, snapshots=[known]))]
    page = remediation.page(data, message="r1: better than control", run_dir="runs/ring")
    assert page.count("<svg") == 2
    assert page.count("data:image/png") == 2
    assert "REPAIRED" in page
    assert str(tmp_path / "winner") in page


def test_the_page_needs_no_run_directory() -> None:
    """Run directories may have been deleted since: the numbers are in the file."""
    data = repaired()
    data["control"]["run_dirs"] = data["winner"]["run_dirs"] = ["gone/for/ever"]
    assert "REPAIRED" in remediation.page(data)


def test_hostile_texts_are_only_text() -> None:
    """Notes hold what a failed command printed, which may be anything."""
    data = repaired(snippet=HOSTILE, command=[HOSTILE])
    data["arms"][1].update(note=HOSTILE, verdict=HOSTILE, name=HOSTILE, run_dirs=[HOSTILE])
    page = remediation.page(data, message=HOSTILE, run_dir=HOSTILE)
    assert "<script>" not in page
    assert "\x1b" not in printed(data, message=HOSTILE)
