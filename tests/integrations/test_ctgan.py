"""CTGAN, the package, under `gandiag run`: a script that knows nothing of gandiag, as the page shows it."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from helpers.scripts import Terminal
from integrations.pages import blocks, commands

from gandiag.rundir import RunReader

STEPS, ROWS = 30, 50  # ten epochs of 150 rows


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(tmp_path, monkeypatch, capfd)


@pytest.mark.slow
def test_the_page_does_what_it_says(terminal: Terminal) -> None:
    """Roles and penalty calls are found, the synthetic table is the same to the last byte, and it can be analyzed."""
    (script,) = blocks("ctgan.md", "python")
    (terminal.folder / "train.py").write_text(script)
    record, analyze = (command.split()[1:] for command in commands("ctgan.md"))

    runpy.run_path("train.py")
    plain = (terminal.folder / "synthetic.csv").read_bytes()
    (terminal.folder / "synthetic.csv").unlink()
    recorded = terminal.gandiag(*record)
    assert recorded.code == 0, recorded.err
    assert (terminal.folder / "synthetic.csv").read_bytes() == plain
    assert len(plain.splitlines()) == 101

    run = RunReader(terminal.folder / "runs" / "ctgan")
    assert run.info.roles["generator"]["classes"] == ["Generator"]
    assert run.info.roles["discriminator"]["classes"] == ["Discriminator"]
    assert run.info.d_calls == {"real": {"d": STEPS}, "fake": {"d": STEPS, "g": STEPS}, "penalty": {"d": STEPS}}
    assert (run.info.iterations, run.info.status, run.info.blind_spots) == (STEPS, "finished", [])
    snapshot = run.snapshot(STEPS)
    assert len(snapshot.real) == len(snapshot.fake) == STEPS * ROWS  # rows, though D judges packs of them
    assert np.isfinite(run.scalars()["d/logits/real/mean"]).all()

    answer = terminal.gandiag(*analyze)
    assert answer.code == 0, answer.err
    assert f"runs/ctgan: {STEPS} iterations" in answer.out
