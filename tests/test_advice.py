"""Advice: what no tool can do to a script."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from gandiag.advice import ADVICE, LEAST, MOST, advise
from gandiag.analyzers import ANALYZERS
from gandiag.report.advising import advice_lines
from gandiag.techniques import TECHNIQUES
from gandiag_cli.app import build


def test_lost_modes_ask_for_labels_first() -> None:
    """A sure finding of missing modes: conditioning has the strongest evidence, then several generators."""
    assert [advice.name for advice in advise({"GD101": 1.0})] == ["conditioning", "several_generators"]


def test_a_weak_finding_asks_for_nothing() -> None:
    """A warning with low confidence is no reason to build another network; no finding none at all."""
    assert advise({"GD101": LEAST}) == []
    assert advise({}) == []


def test_it_is_brief() -> None:
    """With everything wrong, two pieces of advice are given and not six."""
    assert len(advise({analyzer.code: 1.0 for analyzer in ANALYZERS})) == MOST


@pytest.mark.parametrize("name", ADVICE)
def test_each_can_be_read(name: str) -> None:
    """`gandiag techniques NAME` prints it, and says that it is not switched on; it treats findings that exist."""
    result = CliRunner().invoke(build(), ["techniques", name])
    assert result.exit_code == 0, result.output
    advice = ADVICE[name]
    flat = " ".join(result.stdout.split())
    for part in (advice.summary, advice.source, "by hand", *advice.treats):
        assert part in flat
    assert "--enable" not in result.stdout
    assert set(advice.treats) <= {analyzer.code for analyzer in ANALYZERS}
    assert name not in TECHNIQUES


def test_the_report_gives_it_with_its_reason() -> None:
    """A diagnosis with modes missing: conditioning, with why, below the techniques."""
    diagnosis = {"findings": [{"code": "GD101", "severity": "critical", "confidence": "high"}]}
    lines = advice_lines(diagnosis)
    assert lines[0][0] == "conditioning"
    assert "leave it out" in lines[0][1]
