"""The demo scripts run as plain files, and know nothing of gandiag."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gandiag.demo

FOLDER = Path(gandiag.demo.__file__).parent
SCRIPTS = ["ring", "grid", "digits", "stacked_digits"]


def last_line(text: str) -> dict[str, Any]:
    """The evaluation that a script prints last."""
    result: dict[str, Any] = json.loads(text.splitlines()[-1])
    return result


@pytest.mark.parametrize("script", SCRIPTS)
def test_runs_as_a_plain_file_from_anywhere_and_leaves_nothing_behind(script: str, tmp_path: Path) -> None:
    """Three steps end to end: the beginner's recipe trains, and the last line says what came of it."""
    done = subprocess.run(
        [sys.executable, "-B", str(FOLDER / f"{script}.py"), "--steps", "3"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    result = last_line(done.stdout)
    assert 0 <= result["modes"] <= result["of"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_healthy_recipe_runs_and_evaluates_too(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other networks and losses of `--healthy`, imported from the package."""
    module = importlib.import_module(f"gandiag.demo.{script}")
    monkeypatch.setattr(sys, "argv", [script, "--healthy", "--steps", "3"])
    module.main()
    result = last_line(capsys.readouterr().out)
    assert 0 <= result["modes"] <= result["of"]


def test_a_seed_repeats_the_run_and_another_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--seed` fixes everything, and `--out` keeps the samples."""
    samples = []
    for name, seed in [("a", "1"), ("b", "1"), ("c", "2")]:
        words = ["ring", "--steps", "20", "--seed", seed, "--out", str(tmp_path / name)]
        monkeypatch.setattr(sys, "argv", words)
        importlib.import_module("gandiag.demo.ring").main()
        samples.append((tmp_path / name / "samples.npy").read_bytes())
    assert samples[0] == samples[1] != samples[2]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_imports_nothing_of_gandiag(path: Path) -> None:
    """What gandiag is shown on must not have been written for it: only neighbours of this folder are imported."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, "a relative import that leaves the folder"
            names = [node.module or ""] if node.level == 0 else []
        else:
            continue
        assert not [name for name in names if name.split(".")[0] in {"gandiag", "gandiag_cli"}]
