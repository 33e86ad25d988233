"""`gandiag compare`: two runs side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.mixtures import learning, losing_three, recorded
from typer.testing import CliRunner, Result

from gandiag.errors import RunDirError
from gandiag_cli.app import build


def compare(*words: object) -> Result:
    return CliRunner().invoke(build(), ["compare", *map(str, words)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A collapsed run and a healthy one, with labels."""
    home = tmp_path_factory.mktemp("runs")
    steps = (450, 600, 1000)
    return [
        recorded(home / name, fake, steps=steps, labels=True)
        for name, fake in (("collapsed", losing_three), ("healthy", learning))
    ]


def test_it_shows_what_became_better(runs: list[Path]) -> None:
    """Both verdicts, coverage clear of its interval, and the modes that came back."""
    result = compare(*runs)
    assert result.exit_code == 0, result.output
    assert "COLLAPSED" in result.stdout
    assert "HEALTHY" in result.stdout
    coverage = next(line for line in result.stdout.splitlines() if "coverage" in line)
    assert coverage.split()[-1] == "better"
    assert result.stdout.count("missing") == 3


def test_json_is_all_there_is_on_stdout(runs: list[Path]) -> None:
    """One strict JSON object with both runs in the order in which they were given."""
    found = json.loads(compare(*runs, "--json").stdout, parse_constant=pytest.fail)
    assert [run["verdict"] for run in found["runs"]] == ["collapsed", "healthy"]
    assert found["metrics"]["coverage"]["clear"]
    assert found["modes"]["captured"] == [5, 8]


def test_both_must_be_run_directories(runs: list[Path], tmp_path: Path) -> None:
    """The one that is not is named."""
    error = compare(runs[0], tmp_path / "missing").exception
    assert isinstance(error, RunDirError)
    assert "missing" in str(error)
