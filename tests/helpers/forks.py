"""Scripts that train in forks of themselves, so that torch is imported once a test and not once a training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: `watched` trains as a user would; `child` runs a function in a fork, so that torch is imported once a test.
HEAD = """
import os, random, resource, signal, struct, subprocess, sys, time
from pathlib import Path
import torch
import gandiag
from gandiag.watch import Run

torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from helpers.training import Loop

def plain(iterations):
    return Loop().train(iterations).fingerprint()

def watched(run_dir, iterations):
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=run_dir, snapshot_rows=32):
        loop.train(iterations)
    return loop.fingerprint()

def recorded(run_dir):
    # As `gandiag run` watches: the directory is made at the first step, when it is too late to refuse.
    loop = Loop()
    run = Run(run_dir=run_dir, generator=loop.g, discriminator=loop.d, options={{"snapshot_rows": 100}})
    loop.train(250)
    run.close()
    return loop.fingerprint()

def child(name, work, *arguments):
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        os.dup2(os.open(name + ".err", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        Path(name + ".out").write_text(str(work(*arguments)))
        code = 0
    finally:
        os._exit(code)

def wait(*numbers):
    assert [os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) for number in numbers] == [0] * len(numbers)

watched("warm-up", 3)  # what is imported at first use
"""


def python(tmp_path: Path, body: str, *before: str) -> None:
    """Run a script that has all of `HEAD`, in `tmp_path`."""
    script = tmp_path / "train.py"
    script.write_text(HEAD.format(tests=str(Path(__file__).parents[1])) + body)
    command = [*before, sys.executable, script.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
