"""An error of gandiag's own while a technique is on: the training is not to go on without it unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.gan_loops import dcgan as loop
from helpers.gan_loops import net_for, script, train

import gandiag
from gandiag.errors import TechniqueRefused, UsageError
from gandiag.rundir import RunReader
from gandiag.techniques import parse


def test_the_training_is_stopped(tmp_path: Path) -> None:
    """The message names the technique and the error, and says what to do; the run directory holds the error."""

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("broken on purpose")

    def training() -> None:
        ours = script(d=net_for("dcgan"))
        with gandiag.watch(ours.g, ours.d, run_dir=tmp_path / "run", techniques=["r1", "ema"]) as run:
            run.techniques[0].d_loss = lambda batch: broken() if batch.step == 20 else None
            train(loop, ours)

    with pytest.raises(
        TechniqueRefused, match=r"r1 and ema cannot be kept on.*broken on purpose.*\.py, .*, line \d+.*run it without"
    ):
        training()
    found = RunReader(tmp_path / "run")
    assert any("broken on purpose" in text for text in found.info.blind_spots)
    assert found.info.status == "failed"


def test_a_technique_that_never_acted_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2,000 steps before it begins, 50 in the script: the run says so, and which technique it was."""
    ours = script(d=net_for("dcgan"))
    optimizers = (ours.optimizer_g, ours.optimizer_d)
    techniques = ["reweighting", "ema"]
    with gandiag.watch(ours.g, ours.d, run_dir=tmp_path / "run", techniques=techniques, optimizers=optimizers):
        train(loop, ours)
    assert "reweighting was on and has not acted once" in capsys.readouterr().err
    assert any("reweighting" in text for text in RunReader(tmp_path / "run").info.blind_spots)


def test_a_parameter_given_twice_is_refused() -> None:
    """Which of the two was meant?"""
    with pytest.raises(UsageError, match="gamma twice"):
        parse("r1:gamma=1,gamma=2")


def test_counts_are_of_what_was_done(tmp_path: Path) -> None:
    """Dropout in D alone counts D's calls alone: three in each of 50 iterations."""
    ours = script(d=net_for("dcgan"))
    with gandiag.watch(ours.g, ours.d, run_dir=tmp_path / "run", techniques=["dropout:d=0.3,g=0"]) as run:
        train(loop, ours)
    assert run.interventions.counts == {"dropout": 150}
