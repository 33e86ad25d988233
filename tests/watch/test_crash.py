"""Trainings that are killed, or that share a directory: what is left, and what they notice.

`tests/benchmarks/crash.py` does the same at length, through `gandiag run`.
"""

from __future__ import annotations

import struct
from pathlib import Path

from helpers.forks import python

from gandiag.rundir import RunReader
from gandiag.rundir.segments import read_segment, segment_files

KILLS = 20
#: Rows that wait for a flush at most, in the first thousand iterations.
FLUSH_ROWS = 100


def test_twenty_kills_at_random_moments(tmp_path: Path) -> None:
    """One run, killed and started again twenty times: each attempt has all that it did but what waits for a flush.

    A file that the script itself keeps says what it did. Nothing is torn that had been flushed, every snapshot and
    event can be read, and the axis goes on.
    """
    python(
        tmp_path,
        f"""
def train_for_ever(attempt):
    loop = Loop()
    done = os.open(f"{{attempt}}.done", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    gandiag.watch(loop.g, loop.d, run_dir="run", snapshot_rows=16)
    while True:
        loop.train(1)
        os.write(done, struct.pack("<d", time.monotonic()))

moments = random.Random(0)
for attempt in range({KILLS}):
    number = child(str(attempt), train_for_ever, attempt)
    side, last = Path(f"{{attempt}}.done"), moments.randrange(250)
    # Counted in iterations, so that a busy machine has no shorter lives.
    while not (Path("run", f"rank0.a{{attempt}}").exists() and side.stat().st_size >= last * struct.calcsize("<d")):
        time.sleep(0.001)
    time.sleep(moments.uniform(0, 0.005))
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
""",
    )
    recorded = 0
    for attempt in range(KILLS):
        done = (tmp_path / f"{attempt}.done").stat().st_size // struct.calcsize("<d")
        folder = tmp_path / "run" / f"rank0.a{attempt}"
        rows = sum(len(read_segment(path).columns["iteration"]) for path in segment_files(folder))
        assert done - FLUSH_ROWS <= rows <= done + 1, f"attempt {attempt}"
        assert (tmp_path / f"{attempt}.err").read_text() == ""
        recorded += rows
    assert recorded > 1000, "the kills came too early to prove anything"
    run = RunReader(tmp_path / "run")
    table = run.scalars()
    assert len(table["iteration"]) <= recorded
    assert run.info.status == "running"
    assert [snapshot.step for snapshot in run.snapshots()] == run.snapshot_steps()
    assert run.damaged == []
    begun = [event["attempt"] for event in run.events() if event["kind"] == "attempt"]
    assert begun == sorted(set(begun) & set(range(1, KILLS)))  # some were killed before they had said so
    assert all("torn" in note for note in run.notes), run.notes


def test_two_trainings_in_one_directory(tmp_path: Path) -> None:
    """Started at the same moment, twice: each ends as an unwatched one, and each recording is whole."""
    python(
        tmp_path,
        """
def at(moment, run_dir):
    while time.monotonic() < moment:
        pass
    return watched(run_dir, 250)

expected = plain(250)
for turn in range(2):
    moment = time.monotonic() + 0.05
    wait(*[child(f"{turn}{name}", at, moment, f"run-{turn}") for name in "ab"])
    assert [Path(f"{turn}{name}.out").read_text() for name in "ab"] == [expected] * 2
""",
    )
    for turn in range(2):
        run = RunReader(tmp_path / f"run-{turn}")
        assert run.info.status == "finished"
        assert len(run.scalars()["iteration"]) >= 250
        assert run.notes == []
        assert [snapshot.step for snapshot in run.snapshots()] == run.snapshot_steps()
        for attempt in range(2):
            folder = run.path / f"rank0.a{attempt}"
            assert sum(len(read_segment(path).columns["iteration"]) for path in segment_files(folder)) == 250
        assert not list(run.path.glob("**/*.tmp"))
