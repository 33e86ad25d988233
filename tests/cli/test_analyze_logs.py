"""`gandiag analyze` on logs that gandiag did not write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gandiag.errors import RunDirError, UsageError
from gandiag_cli.app import build

DATA = Path(__file__).parents[1] / "logs" / "data"


def analyze(*words: object) -> Result:
    return CliRunner().invoke(build(), ["analyze", *map(str, words)])


@pytest.fixture
def dying(tmp_path: Path) -> Path:
    """A table whose losses end in NaN."""
    path = tmp_path / "log.csv"
    rows = [f"{epoch},{0.5 if epoch < 40 else 'nan'},1.5\n" for epoch in range(50)]
    path.write_text("epoch,loss_D,loss_G\n" + "".join(rows))
    return path


@pytest.mark.parametrize(
    ("log", "counted"), [("events", "39 steps"), ("stats.jsonl", "images"), ("lightning.csv", "steps")]
)
def test_the_terminal_says_what_a_log_cannot_tell(log: str, counted: str) -> None:
    """Undetermined first, in the log's own unit; what is not judged and why; and what to type to know more."""
    result = analyze(DATA / log)
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert text.startswith("UNDETERMINED")
    assert counted in text
    assert "the log has no samples" in text
    assert "read: D's loss from" in text
    assert "gandiag run -- python YOUR_SCRIPT.py" in text
    assert "gandiag remediate" not in text
    assert "Report" not in text


def test_a_dying_training_is_named(dying: Path) -> None:
    """The verdict and the recommendation, but no `remediate`: there is no command to run again."""
    result = analyze(dying)
    assert result.stdout.split()[0] == "UNSTABLE"
    assert "GD303" in result.stdout
    assert "Recommended" in result.stdout
    assert "gandiag remediate" not in result.stdout


def test_json_is_the_same_contract(dying: Path) -> None:
    """One strict JSON object; and `--fail-on` works on it."""
    result = analyze(dying, "--json", "--fail-on", "unstable")
    assert result.exit_code == 1
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert (found["schema"], found["verdict"], found["iterations"]) == ("gandiag.diagnosis/1", "unstable", 49)
    assert analyze(DATA / "stats.jsonl", "--json", "--fail-on", "at-risk").exit_code == 0


def test_the_report_is_written_only_where_it_is_asked_for(dying: Path, tmp_path: Path) -> None:
    """`--html FILE` gives the page with the curves; without it nothing new lies beside the log."""
    assert analyze(dying).exit_code == 0
    assert list(tmp_path.iterdir()) == [dying]
    asked = tmp_path / "out" / "report.html"
    result = analyze(dying, "--html", asked)
    assert str(asked) in result.stdout.strip().splitlines()[-1]
    page = asked.read_text()
    assert "UNSTABLE" in page
    assert "<svg" in page
    assert "could not be drawn" not in page
    assert "diagnosis.json" not in page
    assert "epochs" in page
    assert isinstance(analyze(dying, "--html", asked / "below.html").exception, UsageError)


def test_a_log_of_nothing_known_still_has_a_report(tmp_path: Path) -> None:
    """No curve to draw is no error."""
    path = tmp_path / "log.csv"
    path.write_text("step,fid\n1,10\n2,9\n")
    result = analyze(path, "--html", tmp_path / "report.html")
    assert result.exit_code == 0, result.output
    assert "could not be drawn" not in (tmp_path / "report.html").read_text()


def test_a_hostile_log_can_not_steer_the_terminal_or_the_page(tmp_path: Path) -> None:
    """Names of columns come from strangers: they are shown, not obeyed."""
    path = tmp_path / "log.csv"
    path.write_text('step,loss_D,"<script>alert(1)</script>\x1b[2J[bold] loss_G"\n1,1,1\n2,nan,1\n')
    result = analyze(path, "--html", tmp_path / "report.html")
    assert result.exit_code == 0, result.output
    assert "\x1b[2J" not in result.stdout
    assert "<script>" not in (tmp_path / "report.html").read_text()


def test_what_is_neither_run_nor_log_is_refused(tmp_path: Path) -> None:
    """gandiag's own error, which the command line prints as one message with exit 2."""
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert isinstance(analyze(path).exception, RunDirError)
