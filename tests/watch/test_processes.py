"""Watching in processes of their own: their end, their memory, their disks."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gandiag.rundir import RunReader

HEAD = """
import os, sys, torch, gandiag
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from helpers.training import Loop
loop = Loop()
"""


def python(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run a script that trains; `Loop` and `loop` are there."""
    script = tmp_path / "train.py"
    script.write_text(HEAD.format(tests=str(Path(__file__).parents[1])) + body)
    return subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("last", "status"), [("", "finished"), ("raise ValueError('mine')", "failed")])
def test_the_end_of_the_process_closes_the_run(tmp_path: Path, last: str, status: str) -> None:
    """Without `close`: all rows and a last snapshot are there, and the status tells how the script ended.

    A script that changes its working directory meanwhile still writes where it began.
    """
    done = python(tmp_path, f"gandiag.watch(loop.g, loop.d, run_dir='run')\nos.chdir('/')\nloop.train(7)\n{last}\n")
    assert done.returncode == (1 if last else 0)
    assert "gandiag" not in done.stderr.replace(str(tmp_path), "")
    run = RunReader(tmp_path / "run")
    assert run.info.status == status
    assert run.scalars()["iteration"].tolist() == list(range(1, 8))
    assert run.snapshot_steps() == [7]
    assert run.info.command is not None
    assert run.info.command[1:] == ["train.py"]


def test_a_kill_loses_only_what_was_not_flushed(tmp_path: Path) -> None:
    """SIGKILL in iteration 250: the 200 rows of two flushes and the snapshots until then are readable."""
    done = python(
        tmp_path,
        "gandiag.watch(loop.g, loop.d, run_dir='run', snapshot_rows=32)\nloop.train(250)\nos.kill(os.getpid(), 9)\n",
    )
    assert done.returncode == -signal.SIGKILL
    run = RunReader(tmp_path / "run")
    assert run.info.status == "running"
    assert len(run.scalars()["iteration"]) >= 200
    assert sum(1 for _ in run.snapshots()) == len(run.snapshot_steps()) >= 9
    assert run.damaged == []


def test_training_goes_on_where_the_disk_is_full(tmp_path: Path) -> None:
    """From the middle on no file may grow: one message, same weights, what was written is readable."""
    done = python(
        tmp_path,
        """
import resource, signal
plain = loop.train(400).fingerprint()
loop = Loop()
gandiag.watch(loop.g, loop.d, run_dir='run', snapshot_rows=32)
loop.train(200)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
loop.train(200)
print(loop.fingerprint() == plain)
""",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n"
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "recording stopped, training goes on" in done.stderr
    assert len(RunReader(tmp_path / "run").scalars()["iteration"]) >= 200


def test_recording_takes_no_more_memory_with_time(tmp_path: Path) -> None:
    """Between iterations 800 and 1,800 no object, no number of Python's, no tensor and no buffer is added for good.

    One number kept for each iteration would be 1,000 blocks of memory.
    """
    done = python(
        tmp_path,
        """
import gc
import pyarrow

def held():
    gc.collect()
    objects = gc.get_objects()
    tensors = sum(o.numel() for o in objects if type(o) is torch.Tensor)
    return len(objects), sys.getallocatedblocks(), tensors, pyarrow.total_allocated_bytes()

def least_held():
    # Rows wait for the next flush, so what is held goes up and down: it is least right after one.
    found = []
    for _ in range(27):
        loop.train(10)
        found.append(held())
    return [min(values) for values in zip(*found)]

run = gandiag.watch(loop.g, loop.d, run_dir="run", snapshot_rows=32)
loop.train(530)  # what is remembered of the last fakes fills up
before = least_held()
loop.train(730)
print(*(after - then for after, then in zip(least_held(), before)))
run.close()
""",
    )
    assert done.returncode == 0, done.stderr
    objects, blocks, numbers, arrow = map(int, done.stdout.split())
    assert objects < 300  # the rows of some iterations that wait
    assert blocks < 400
    assert numbers < 1000
    assert arrow == 0
    assert len(RunReader(tmp_path / "run").scalars()["iteration"]) == 1800


def test_heavy_packages_stay_out_of_the_training(tmp_path: Path) -> None:
    """Neither scikit-learn nor scipy, matplotlib, rich, typer or jinja2 is imported by a watched training."""
    done = python(
        tmp_path,
        """
with gandiag.watch(loop.g, loop.d, run_dir='run', techniques=['r1', 'ema']):
    loop.train(30)
print([m for m in ('sklearn', 'scipy', 'matplotlib', 'rich', 'typer', 'jinja2', 'pandas') if m in sys.modules])
""",
    )
    assert done.stdout == "[]\n", done.stderr
