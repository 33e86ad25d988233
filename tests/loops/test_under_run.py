"""Every idiom under `gandiag run`: the real launcher, boot and end, and not a bit is changed.

One `gandiag run` for each idiom. Only the start of Python is shortened, see `helpers.warm_python`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.scripts import Terminal
from helpers.warm_python import WarmPython
from loops._training import name
from loops.idioms import IDIOMS, Idiom

from gandiag.rundir import RunReader

SCRIPT = Path(__file__).with_name("one_idiom.py")
#: What a watched run imports beside torch. Not `gandiag.boot`, which is imported when torch has been.
PRELOAD = ["torch._dynamo", "gandiag.watch", "gandiag.embed.random_projection", "pyarrow", "safetensors.torch"]


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The program to run instead of `python`."""
    python = WarmPython(tmp_path_factory.mktemp("warm"), PRELOAD)
    yield str(python.program)
    python.close()


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(tmp_path, monkeypatch, capfd)


@pytest.mark.parametrize("idiom", IDIOMS, ids=name)
def test_gandiag_run_changes_no_bit(idiom: Idiom, warm: str, terminal: Terminal) -> None:
    """Weights, buffers, optimizer states and random streams are those of the plain script, and all was recorded."""
    plain = subprocess.run([warm, SCRIPT, name(idiom)], capture_output=True, text=True, check=True, timeout=60)
    done = terminal.gandiag("run", "--run-dir", "run", "--", warm, SCRIPT, name(idiom))
    assert done.code == 0, done.err
    assert done.out == plain.stdout
    run = RunReader("run")
    assert run.info.status == "finished"
    iterations = run.scalars()["iteration"].tolist()
    assert iterations == list(range(1, len(iterations) + 1))
    assert len(iterations) > 0
    # A gandiag that had switched itself off after the first steps would change no bit either.
    assert not [event for event in run.events() if event["kind"] == "failed"]
    calls = sum(n for kind, phases in run.info.d_calls.items() if kind != "eval" for n in phases.values())
    assert calls == json.loads(plain.stdout)["calls"]


def test_the_comparison_can_fail(warm: str, terminal: Terminal) -> None:
    """The warm Python attaches by the boot alone, and another seed is another fingerprint."""
    words = [warm, SCRIPT, name(IDIOMS[0])]
    plain = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    done = terminal.gandiag("run", "--run-dir", "run", "--seed-offset", 1, "--", *words)
    assert done.code == 0, done.err
    assert json.loads(done.out)["fingerprint"] != json.loads(plain.stdout)["fingerprint"]
    assert not list(Path.cwd().glob("runs"))
