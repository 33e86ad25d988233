"""What is decided before anything runs, on recorded runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.mixtures import learning, losing_three, recorded
from helpers.runs import write_run

from gandiag.errors import RunDirError, UsageError
from gandiag.remediate import prepare


def collapsed(tmp_path: Path, **info: Any) -> Path:
    """A run that lost three of eight modes, of a command that can be run here."""
    known = {"command": [sys.executable, "train.py"], "cwd": str(tmp_path), **info}
    return recorded(tmp_path / "run", losing_three, steps=(100, 450, 600, 1000), **known)


def test_a_collapsed_run(tmp_path: Path) -> None:
    """Control first, candidates for what was found, the recorded command, length and folder."""
    plan = prepare(collapsed(tmp_path, options={"generator": "Decoder"}))
    assert plan.verdict == "collapsed"
    assert plan.control.techniques == ()
    assert len(plan.arms) == 4
    assert all("GD101" in arm.treats for arm in plan.arms[1:])
    assert plan.command == (sys.executable, "train.py")
    assert plan.iterations == 1000
    assert plan.home == (tmp_path / "run" / "remediation").resolve()
    assert not plan.home.exists()
    trial = plan.trial(plan.arms[1], seed=1, fraction=0.5, stop_early=True)
    assert trial.max_iterations == 500
    assert "--generator=Decoder" in trial.argv()


def test_an_earlier_remediation_is_kept(tmp_path: Path) -> None:
    """The next one gets a folder of its own: a recording into an old folder would continue it."""
    run_dir = collapsed(tmp_path)
    (run_dir / "remediation").mkdir()
    assert prepare(run_dir).home.name == "remediation-2"


def test_a_healthy_run_asks_for_nothing(tmp_path: Path) -> None:
    """Not even for a command that still works: there is nothing to repair."""
    plan = prepare(recorded(tmp_path / "run", learning, command=None))
    assert plan.healthy
    assert plan.schedule is None


def test_a_script_of_its_own_watch_gets_a_python_in_front(tmp_path: Path) -> None:
    """`gandiag.watch` in a script records sys.argv, which begins with the script."""
    assert prepare(collapsed(tmp_path, command=["train.py", "--epochs", "2"])).command[:2] == (
        sys.executable,
        "train.py",
    )


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"command": None}, "does not say which command"),
        ({"command": []}, "does not say which command"),
        ({"cwd": "/no/such/folder"}, "not there any more"),
        ({"command": ["no-such-program", "x"]}, "cannot be run here"),
    ],
)
def test_a_run_that_cannot_be_repeated(tmp_path: Path, info: dict[str, Any], message: str) -> None:
    """Each reason is one message that says what to do."""
    with pytest.raises(UsageError, match=message):
        prepare(collapsed(tmp_path, **info))


def test_a_run_that_says_too_little(tmp_path: Path) -> None:
    """Three iterations without samples: undetermined is not healthy, and not something to repair."""
    with pytest.raises(UsageError, match="nothing is known to be wrong"):
        prepare(write_run(tmp_path / "run", scalars={"loss/d": [1.0, 1.0, 1.0]}))


def test_what_is_asked_is_checked_before_the_run_is_read() -> None:
    """A budget that cannot hold a verification is said at once; a missing run directory is named."""
    with pytest.raises(UsageError, match="--budget"):
        prepare("/no/such/run", budget=3)
    with pytest.raises(RunDirError, match="no/such/run"):
        prepare("/no/such/run")
