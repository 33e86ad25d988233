"""`gandiag remediate`: what it asks, prints and exits with."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers.mixtures import learning, losing_three, recorded
from typer.testing import CliRunner, Result

from gandiag.errors import UsageError
from gandiag.remediate.executors import Listener, Outcome, local
from gandiag.remediate.trials import Trial
from gandiag_cli.app import build


class Fake:
    """Writes what a training with, and without, a technique would leave."""

    cured = True

    def run(self, trials: Sequence[Trial], *, listener: Listener) -> list[Outcome]:
        outcomes = []
        for trial in trials:
            listener.started(trial)
            fake = learning if trial.techniques and self.cured else losing_three
            recorded(Path(trial.run_dir), fake, steps=(100, 1000), seed=trial.seed_offset)
            listener.progressed(trial, 500)
            outcomes.append(Outcome(trial, "finished", trial.max_iterations))
            listener.ended(outcomes[-1])
        return outcomes


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A collapsed run, and an executor that does not train."""
    monkeypatch.setattr(local, "make", Fake)
    command = [sys.executable, "train.py", "[bold]", "a\x1b[2J"]
    return recorded(tmp_path / "run", losing_three, steps=(100, 450, 600, 1000), command=command, cwd=str(tmp_path))


def gandiag(*words: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(build(), ["remediate", *map(str, words)], input=stdin)


def test_a_verified_winner_exits_with_0(run_dir: Path) -> None:
    """Table, command and snippet on stdout; the recorded command on stderr, with nothing that steers a terminal."""
    result = gandiag(run_dir, "--yes")
    assert result.exit_code == 0, result.output
    assert "winner" in result.stdout
    assert "gandiag run --enable" in result.stdout
    assert "train.py '[bold]'" in result.stderr
    assert "\x1b[2J" not in result.output


def test_json_is_all_there_is_on_stdout(run_dir: Path) -> None:
    """With --json stdout holds one object; progress goes to stderr."""
    result = gandiag(run_dir, "--yes", "--json")
    plain = json.loads(result.stdout)
    assert plain["verified"] is True
    assert plain["schema"] == "gandiag.remediation/1"
    assert "screening" in result.stderr


def test_if_nothing_beats_control_it_exits_with_1(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is a result, not an error: the JSON is whole."""
    monkeypatch.setattr(Fake, "cured", False)
    result = gandiag(run_dir, "--yes", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["winner"] is None


def test_a_healthy_run_exits_with_0(tmp_path: Path) -> None:
    """Nothing to repair, nothing to ask."""
    result = gandiag(recorded(tmp_path / "run", learning, command=None))
    assert result.exit_code == 0
    assert "healthy" in result.stdout


def test_without_a_terminal_it_does_not_run_what_it_found(run_dir: Path) -> None:
    """Nobody can be asked, and nobody said --yes."""
    result = gandiag(run_dir, stdin="y\n")
    assert isinstance(result.exception, UsageError)
    assert "--yes" in str(result.exception)
    assert not (run_dir / "remediation").exists()


@pytest.mark.parametrize(("answer", "started"), [("n\n", False), ("y\n", True)])
def test_at_a_terminal_it_asks(run_dir: Path, monkeypatch: pytest.MonkeyPatch, answer: str, started: bool) -> None:
    """And does as it is told."""
    import gandiag_cli.commands.remediate as module

    monkeypatch.setattr(module, "_somebody_is_there", lambda: True)
    result = gandiag(run_dir, stdin=answer)
    assert (result.exit_code == 0) == started
    assert (run_dir / "remediation").exists() == started
