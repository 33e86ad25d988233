"""`gandiag demo`: trains, records and analyzes in one go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.scripts import Terminal

from gandiag.rundir import RunReader


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Terminal:
    """A terminal in an empty folder."""
    return Terminal(tmp_path, monkeypatch, capfd)


def test_it_trains_records_and_analyzes(terminal: Terminal) -> None:
    """A few steps of the ring: the run, the diagnosis and the report are there, and the screen says where."""
    done = terminal.gandiag("demo", "ring", "--steps", 60, "--seed", 1, "--run-dir", "run")
    assert done.code == 0, done.err
    run = RunReader("run")
    assert run.scalars()["iteration"].tolist() == list(range(1, 61))
    assert run.snapshot_steps()
    assert json.loads(Path("run/derived/diagnosis.json").read_text())["schema"] == "gandiag.diagnosis/1"
    assert "<html" in Path("run/derived/report.html").read_text()
    assert "report.html" in done.out
    assert str(run.info.command).count("ring.py") == 1


@pytest.mark.parametrize("words", [("moons",), ("ring", "--steps", 0), ("ring", "--seed", -1)])
def test_wrong_use_is_refused_without_training(terminal: Terminal, words: tuple[object, ...]) -> None:
    """An unknown demo or a senseless number: exit code 2, and nothing on disk."""
    assert terminal.gandiag("demo", *words).code == 2
    assert list(terminal.folder.iterdir()) == []
