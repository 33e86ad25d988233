"""When gandiag itself fails, the training does not: same bits, one message, and the run directory says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.training import Loop

import gandiag
from gandiag.errors import RunDirError
from gandiag.loop import Observer, pattern
from gandiag.loop.passes import Passes
from gandiag.loop.pattern import Pattern
from gandiag.loop.provenance import Provenance
from gandiag.probes import PROBES, Recorder, _recorder
from gandiag.probes._snapshots import Snapshots
from gandiag.rundir import RunReader, RunWriter

METHODS = ("before_step", "after_step", "call_ended", "wants_features", "reduce", "derive")


def broken(*args: object, **kwargs: object) -> None:
    raise RuntimeError("broken on purpose")


def probes_and_methods() -> Iterator[tuple[str, str]]:
    for cls in PROBES:
        for method in METHODS:
            if method in vars(cls):
                yield cls.name, method


@pytest.fixture(scope="module")
def plain() -> str:
    """What 12 unwatched iterations end with."""
    return Loop().train(12).fingerprint()


def watched(path: Path, *, strict: bool = False) -> str:
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=path, strict=strict):
        loop.train(12)
    return loop.fingerprint()


def with_a_short_batch(loop: Loop) -> str:
    """Sixty iterations, all alike but one."""
    loop.train(50)
    loop.batch //= 2
    loop.train(1)
    loop.batch *= 2
    return loop.train(9).fingerprint()


@pytest.mark.parametrize(("name", "method"), list(probes_and_methods()))
def test_a_failing_probe_is_switched_off_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: str, name: str, method: str
) -> None:
    """Whichever method fails: the other probes' columns are there, blind_spots and an event name the probe."""
    monkeypatch.setattr(PROBES[name], method, broken)
    assert watched(tmp_path / "run") == plain
    run = RunReader(tmp_path / "run")
    assert run.info.blind_spots == [f"probe {name} failed and was switched off: RuntimeError: broken on purpose"]
    assert [e["text"] for e in run.events()] == run.info.blind_spots
    other = "loss/d" if name != "losses" else "grad/d/total"
    assert np.isfinite(run.scalars()[other]).all()
    assert run.info.status == "finished"


def test_strict_raises_a_failing_probes_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests and for those who would rather stop."""
    monkeypatch.setattr(PROBES["losses"], "before_step", broken)
    with pytest.raises(RuntimeError, match="broken on purpose"):
        watched(tmp_path / "run", strict=True)


@pytest.mark.parametrize(
    ("home", "method"),
    [
        (Observer, "_enter"),
        (Observer, "_leave"),
        (Observer, "_settle"),
        (Passes, "_note_loss"),
        (Provenance, "trace"),
        (Recorder, "call_begins"),
        (Recorder, "before_step"),
        (Recorder, "iteration_ended"),
    ],
)
def test_an_error_of_gandiags_own_never_reaches_the_loop(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    plain: str,
    home: type,
    method: str,
) -> None:
    """Same bits, one line on stderr, the same words in run.json and as an event, and torch is left alone."""
    monkeypatch.setattr(home, method, broken)
    assert watched(tmp_path / "run") == plain
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if "broken on purpose" in line]) == 1, lines
    run = RunReader(tmp_path / "run")
    assert any("broken on purpose" in text for text in run.info.blind_spots)
    assert any("broken on purpose" in event["text"] for event in run.events())


@pytest.mark.parametrize(
    ("home", "method"),
    [
        (Pattern, "expects_call"),
        (Pattern, "called"),
        (Pattern, "expects_backward"),
        (Pattern, "expects_step"),
        (Pattern, "leave"),
        (Recorder, "wants_round"),
        (Recorder, "round_followed"),
        (Snapshots, "keep_followed"),
    ],
)
def test_nor_does_one_in_a_round_that_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: type, method: str
) -> None:
    """The same where rounds are not watched but compared with what is expected."""
    monkeypatch.setattr(_recorder, "FAST", 1e9)
    monkeypatch.setattr(_recorder, "ALL", 20)
    monkeypatch.setattr(pattern, "AGREE", 2)
    alone = with_a_short_batch(Loop())
    monkeypatch.setattr(home, method, broken)
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run"):
        assert with_a_short_batch(loop) == alone
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if "broken on purpose" in line]) == 1, lines
    assert any("broken on purpose" in text for text in RunReader(tmp_path / "run").info.blind_spots)


@pytest.mark.parametrize("method", ["_enter", "_settle"])
def test_strict_raises_gandiags_own_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """The same failures, asked for."""
    monkeypatch.setattr(Observer, method, broken)
    with pytest.raises(RuntimeError, match="broken on purpose"):
        watched(tmp_path / "run", strict=True)


@pytest.mark.parametrize("method", ["append", "update_info", "close"])
@pytest.mark.parametrize("error", [RunDirError("no space left"), RuntimeError("no space left")])
def test_a_writer_that_fails_ends_the_recording_with_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    plain: str,
    method: str,
    error: Exception,
) -> None:
    """A full disk while training, whatever it hits first, and errors that nobody thought of."""

    def full(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(RunWriter, method, full)
    assert watched(tmp_path / "run") == plain
    assert capsys.readouterr().err.count("no space left") == 1


def test_snapshots_that_cannot_be_written_cost_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with room for numbers and none for samples: all rows are there, and run.json says what is not."""

    def full(*args: object, **kwargs: object) -> None:
        raise RunDirError("no space left")

    monkeypatch.setattr(RunWriter, "snapshot", full)
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", snapshot_rows=16):
        loop.train(60)
    run = RunReader(tmp_path / "run")
    assert len(run.scalars()["iteration"]) == 60
    assert run.snapshot_steps() == []
    assert any("no space left" in text for text in run.info.blind_spots)
