"""What is left when the process is killed or the disk is full."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gandiag.errors import RunDirError
from gandiag.rundir import RunReader, RunWriter

RECORD_FOR_EVER = """
import sys, numpy as np
from gandiag.rundir import RunWriter
writer = RunWriter(sys.argv[1], info={}, rotate_at=20_000, snapshot_cap=20_000)
first = writer.last_iteration + 1
while True:
    writer.append({"iteration": np.arange(first, first + 10), "a": np.arange(first, first + 10, dtype=np.float32)})
    first += 10
    writer.snapshot(first - 1, {"real": np.ones((50, 2)), "fake": np.ones((50, 2))}, {})
    writer.event("step", step=first)
    writer.update_info(d_calls={"real": {"d": first}})
    print(first - 1, flush=True)
"""


def test_a_kill_loses_nothing_that_was_handed_over(tmp_path: Path) -> None:
    """SIGKILL at a random moment, four attempts of one run: all that `append` had returned from is there.

    Every row is right, the run can be continued, and reading it before, at and after the kill raises nothing.
    """
    run, rng = tmp_path / "run", np.random.default_rng(0)
    done = 0
    for attempt in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", RECORD_FOR_EVER, str(run)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            done = int(process.stdout.readline())
            deadline = time.monotonic() + rng.uniform(0.02, 0.2)
            while time.monotonic() < deadline:
                RunReader(run).scalars()
            process.kill()
            done = max([done, *(int(line) for line in process.stdout.read().split("\n")[:-1])])
        reader = RunReader(run)
        table = reader.scalars()
        np.testing.assert_array_equal(table["iteration"], np.arange(1, len(table["iteration"]) + 1))
        np.testing.assert_array_equal(table["a"], table["iteration"].astype(np.float32))
        assert len(table["iteration"]) >= done
        assert sum(1 for _ in reader.snapshots()) == len(reader.snapshot_steps()) >= 2
        assert reader.damaged == []
        assert len([e for e in reader.events() if e["kind"] == "attempt"]) == attempt
        assert reader.info.status == "running"
    RunWriter(run, info={}).close()
    assert RunReader(run).info.status == "finished"


FILL_THE_DISK = """
import resource, sys, numpy as np
from gandiag.errors import RunDirError
from gandiag.rundir import RunReader, RunWriter
rows = lambda first: {"iteration": np.arange(first, first + 100), "a": np.ones(100, np.float32)}
big = {"real": np.ones((5000, 2)), "fake": np.ones((5000, 2))}
writer = RunWriter(sys.argv[1], info={})
limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
said = []
def attempt(what):
    try:
        what()
    except RunDirError as error:
        said.append(str(error))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit))
for first in range(0, 1000, 100):
    attempt(lambda: writer.append(rows(first)))
attempt(lambda: writer.snapshot(1, big, {}))
attempt(lambda: writer.event("big", text="x" * 20_000))
attempt(lambda: writer.update_info(options={"x": "x" * 20_000}))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # somebody freed some space
writer.append(rows(1000))
writer.event("after")
writer.close()
print(len(said))
print(*said, sep="\\n")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")
def test_a_full_disk_is_a_clear_error_and_no_damage(tmp_path: Path) -> None:
    """Every write past the limit raises RunDirError with file and cure; what was written before and after is read.

    The limit on file sizes stands in for a full disk: both stop a write half-way.
    """
    done = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(tmp_path / "run")], capture_output=True, text=True, check=True
    )
    number, *said = done.stdout.splitlines()
    assert int(number) == len(said) >= 4
    assert all(("free disk space" in line and "rank0.a0" in line) or "run.json" in line for line in said)
    reader = RunReader(tmp_path / "run")
    table = reader.scalars()
    assert 1000 in table["iteration"]
    assert len(table["iteration"]) == 1100 - 100 * sum("cannot append" in line for line in said)
    assert [e["kind"] for e in reader.events()] == ["after"]
    assert len(reader.notes) == 2  # the segment and the event line that the limit tore
    assert reader.snapshot_steps() == []
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert reader.info.status == "finished"


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    """Below a file, or on a name that no file system takes: one message with the path and the cure."""
    (tmp_path / "file").write_text("x")
    for bad in ("file/run", "file", "x" * 300, "nul\0"):
        with pytest.raises(RunDirError, match="give another"):
            RunWriter(tmp_path / bad, info={})


def test_a_directory_that_goes_away_is_a_clear_error(tmp_path: Path) -> None:
    """Somebody deletes the run directory while it is recorded: RunDirError from every method, and no crash."""
    import shutil

    writer = RunWriter(tmp_path / "run", info={})
    shutil.rmtree(tmp_path / "run")
    ones = np.ones((2, 2))
    for call in (
        lambda: writer.append({"iteration": np.arange(3)}),
        lambda: writer.event("x"),
        lambda: writer.snapshot(1, {"real": ones, "fake": ones}, {}),
        lambda: writer.update_info(device="cpu"),
        writer.close,
    ):
        with pytest.raises(RunDirError):
            call()
