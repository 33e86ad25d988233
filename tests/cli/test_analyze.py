"""`gandiag analyze`: what it prints, writes and exits with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.mixtures import learning, losing_three, recorded
from typer.testing import CliRunner, Result

from gandiag.errors import RunDirError, UsageError
from gandiag_cli.app import build

STEPS = (100, 450, 600, 1000)


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that lost three of eight modes."""
    return recorded(tmp_path_factory.mktemp("runs") / "collapsed", losing_three, steps=STEPS)


def analyze(*words: object) -> Result:
    return CliRunner().invoke(build(), ["analyze", *map(str, words)])


def test_it_prints_the_verdict_and_writes_the_report(collapsed: Path) -> None:
    """Verdict first, next command last, and a report where the last line says."""
    result = analyze(collapsed)
    assert result.exit_code == 0, result.output
    assert result.stdout.split()[0] == "COLLAPSED"
    assert f"gandiag remediate {collapsed}" in result.stdout
    report = collapsed / "derived" / "report.html"
    assert str(report) in result.stdout.strip().splitlines()[-1]
    page = report.read_text()
    assert "COLLAPSED" in page
    assert "could not be drawn" not in page


def test_json_is_all_there_is_on_stdout(collapsed: Path) -> None:
    """One strict JSON object, with the verdict in it."""
    result = analyze(collapsed, "--json")
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert found["schema"] == "gandiag.diagnosis/1"
    assert found["verdict"] == "collapsed"


def test_the_report_goes_where_it_is_asked_for(collapsed: Path, tmp_path: Path) -> None:
    """`--html` takes a file, folders are made; one that can't be written is an error."""
    asked = tmp_path / "a" / "report.html"
    assert analyze(collapsed, "--html", asked).exit_code == 0
    assert asked.exists()
    result = analyze(collapsed, "--html", asked / "below-a-file.html")
    assert isinstance(result.exception, UsageError)


@pytest.mark.parametrize(("limit", "code"), [("at-risk", 1), ("unstable", 1), ("collapsed", 1)])
def test_fail_on_takes_the_verdict_or_a_better_one(collapsed: Path, limit: str, code: int) -> None:
    """A collapsed run is worse than anything that `--fail-on` can name."""
    assert analyze(collapsed, "--json", "--fail-on", limit).exit_code == code


def test_fail_on_lets_a_healthy_run_pass(tmp_path: Path) -> None:
    """A healthy run reaches no limit."""
    run_dir = recorded(tmp_path / "run", learning, steps=STEPS)
    assert analyze(run_dir, "--json", "--fail-on", "at-risk").exit_code == 0


def test_a_run_without_samples_is_undetermined(tmp_path: Path) -> None:
    """Three iterations, no snapshot: no figures, no modes, and no claim of health."""
    from helpers.runs import write_run

    run_dir = write_run(tmp_path / "run", scalars={"loss/d": [1.0, float("nan"), float("inf")]})
    result = analyze(run_dir)
    assert result.exit_code == 0, result.output
    assert "HEALTHY" not in result.stdout


def test_what_is_no_run_directory_is_refused(tmp_path: Path) -> None:
    """A missing or foreign directory is gandiag's own error, which the command line prints as one message."""
    assert isinstance(analyze(tmp_path / "missing").exception, RunDirError)
    assert isinstance(analyze(tmp_path).exception, RunDirError)


def test_a_hostile_run_can_not_steer_the_terminal(tmp_path: Path) -> None:
    """Command, class names and device come from the run directory and are shown, not obeyed."""
    evil = "<script>alert(1)</script>\x1b[2J[bold]"
    roles = {"generator": {"classes": [evil], "parameters": 1, "confidence": 1.0}}
    run_dir = recorded(
        tmp_path / "run",
        losing_three,
        steps=STEPS,
        command=["python", evil],
        device=evil,
        roles=roles,
        blind_spots=[evil],
    )
    result = analyze(run_dir)
    assert result.exit_code == 0, result.output
    assert "\x1b[2J" not in result.stdout
    assert "<script>" not in (run_dir / "derived" / "report.html").read_text()
