"""A trial is data, and its command line is the recorded command under `gandiag run`."""

from __future__ import annotations

import dataclasses
import json
import sys

import pytest

from gandiag.errors import UsageError
from gandiag.remediate.trials import Trial

TRIAL = Trial(
    name="r1-seed2",
    command=("python", "train.py", "--name", "two words"),
    cwd="/somewhere",
    run_dir="/runs/a/remediation/r1-seed2",
    seed_offset=2,
    max_iterations=400,
    techniques=("r1:gamma=0.1", "ema:decay=0.999"),
    run_options=("--generator=Decoder",),
    environment={"A": "1"},
    parent="/runs/a",
    stop_early=True,
)


def test_a_trial_survives_json() -> None:
    """What crosses machines is text, and nothing of a trial is lost in it."""
    assert Trial.from_json(TRIAL.to_json()) == TRIAL


def test_json_of_something_else_is_refused_with_the_fields() -> None:
    """A missing or unknown field is a message that names the known ones, not a TypeError."""
    fields = json.loads(TRIAL.to_json())
    with pytest.raises(UsageError, match=r"not a trial .*seed_offset"):
        Trial.from_json(json.dumps({**fields, "colour": "red"}))


def test_the_command_line() -> None:
    """Options of `gandiag run` stand before the `--`, the recorded words unchanged after it."""
    argv = TRIAL.argv()
    assert argv[:4] == [sys.executable, "-m", "gandiag_cli", "run"]
    split = argv.index("--")
    assert tuple(argv[split + 1 :]) == TRIAL.command
    options = argv[4:split]
    for pair in (["--seed-offset", "2"], ["--max-iterations", "400"], ["--enable", "ema:decay=0.999"]):
        assert pair[1] == options[options.index(pair[1])]
        assert options[options.index(pair[1]) - 1] == pair[0]
    assert options.count("--enable") == 2


def test_control_enables_nothing() -> None:
    """Without techniques there is no --enable."""
    assert "--enable" not in dataclasses.replace(TRIAL, techniques=()).argv()
