"""The diagnosis on a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from helpers.diagnoses import HOSTILE, collapsed, healthy, mode
from rich.console import Console

from gandiag.report.terminal import show_json


def printed(diagnosis: dict[str, Any], *, width: int = 80, encoding: str = "utf-8", **kwargs: Any) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="replace")
    show_json(
        diagnosis, Console(file=stream, width=width, highlight=False, **kwargs), report="runs/ring/derived/report.html"
    )
    stream.flush()
    return raw.getvalue().decode(encoding)


def test_the_first_lines_answer() -> None:
    """Verdict, why, since when and where it was still good stand in the first four lines."""
    first = printed(collapsed()).strip().splitlines()[:4]
    assert first[0].split() == ["COLLAPSED", "2", "of", "8", "modes", "are", "never", "generated."]
    assert "Since iteration 400; last healthy snapshot: iteration 100." in first[1]


@pytest.mark.parametrize("verdict", ["collapsed", "unstable", "at-risk", "undetermined", "healthy"])
def test_each_verdict_is_a_word(verdict: str) -> None:
    """Without colours the verdict is still there to read."""
    assert verdict.replace("-", " ").upper() in printed(collapsed(verdict=verdict)).strip().splitlines()[0]


def test_everything_that_was_found_is_said() -> None:
    """Findings, modes, metrics with a reading, what was not judged, blind spots, recommendation, command, report."""
    text = printed(collapsed(), width=140)
    for part in (
        "GD101 modes-missing  critical, high confidence, iterations 400–1,000",
        "6 of 8 modes captured (clusters of the real data): 2 missing, 1 under, 1 shrunken, 1 over.",
        "about 39 % of the real data is never generated",
        "GD303: gradients were not recorded",
        "labels were not given",
        "Mind: A step takes 2.5 times the time.",
        "gandiag remediate runs/ring",
        "gandiag run --enable rpgan_r1_r2:gamma=0.1 -- python YOUR_SCRIPT.py",
        "runs/ring/derived/report.html",
    ):
        assert part in text


def test_it_fits_80_columns() -> None:
    """No line of prose or table is wider than the terminal."""
    assert max(map(len, printed(collapsed()).splitlines())) <= 80


def test_command_lines_are_never_wrapped() -> None:
    """A wrapped command line can't be pasted, so a long one runs on."""
    run_dir = "runs/" + "very-long-name-" * 10
    assert f"gandiag remediate {run_dir}\n" in printed(collapsed(run_dir=run_dir))


def test_hostile_texts_neither_steer_nor_style() -> None:
    """Escape sequences and rich markup of a run directory arrive as the characters they are."""
    findings = [{**finding, "message": HOSTILE, "name": HOSTILE} for finding in collapsed()["findings"]]
    text = printed(
        collapsed(
            findings=findings,
            run_dir=HOSTILE,
            loss_family=HOSTILE,
            modes={**collapsed()["modes"], "modes": [mode(0, name=HOSTILE)]},
            skipped=[{"code": HOSTILE, "because": HOSTILE}],
            blind_spots=[HOSTILE],
        ),
        width=200,
        force_terminal=True,
    )
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert "[bold]" in text
    assert "\\x1b[2J" in text


def test_a_terminal_without_unicode_gets_bars_too() -> None:
    """Where block characters can't be printed bars are made of `#`, and nothing fails."""
    text = printed(collapsed(), encoding="ascii")
    assert "####" in text


def test_a_healthy_run_is_short() -> None:
    """Nothing to do, nothing to type."""
    text = printed(healthy())
    assert "What to type next" not in text
    assert "Findings" not in text


def test_a_bare_diagnosis_is_enough() -> None:
    """A run of three iterations has no modes, no metrics, no steps."""
    bare = collapsed(verdict="undetermined", iterations=3, findings=[], modes=None, metrics={}, recommendations=[])
    assert "UNDETERMINED" in printed(bare)
