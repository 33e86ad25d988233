"""A kill at each single system call of a recording: not at random moments, at all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gandiag.errors import RunDirError
from gandiag.rundir import RunReader, RunWriter

#: Records a small run, and says after each call that returned what is now on disk. `kill_at(n, half)` makes the n-th
#: system call that changes the disk the last one, or lets it write half of its bytes. Prints how many calls there are.
RECORD = """
import json, os, signal, sys
import numpy as np
from gandiag.rundir import RunWriter, segments

CHANGING = ("open", "write", "close", "fsync", "link", "replace", "unlink", "mkdir")
plain = {name: getattr(os, name) for name in CHANGING}
plain["fsync"] = lambda descriptor: None  # what is tested is a kill and no power cut, which a real one would wait for

def kill_at(last, half):
    calls = 0
    def guarded(name):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == last:
                if half and name == "write":
                    plain["write"](args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return plain[name](*args, **kwargs)
        return call
    for name in CHANGING:
        setattr(os, name, guarded(name))
    return lambda: calls

def record(path, say, count):
    writer = RunWriter(path, info={}, snapshot_cap=1500)
    begin = writer.last_iteration
    say({"begin": begin})
    points = np.arange(64.0).reshape(32, 2)
    for flush in range(1, 6):
        iteration = np.arange(begin + 10 * flush - 9, begin + 10 * flush + 1)
        writer.append({"iteration": iteration, "a": iteration.astype(np.float32), "b": iteration % 2 == 0})
        say({"rows": int(iteration[-1])})
        writer.event("step", step=int(iteration[-1]))
        say({"events": flush})
        writer.update_info(d_calls={"real": {"d": flush}})
        say({"info": flush})
        if flush != 4:
            writer.snapshot(int(iteration[-1]), {"real": points, "fake": points + flush}, {})
            say({"snapshot": int(iteration[-1])})
    writer.close()
    say({"closed": count() if count else 0})

segments.BATCHES = 3  # so that one is packed on the way
folder = sys.argv[1]
record(f"{folder}/warm-up", lambda said: None, None)  # what is imported at first use is imported once
for line in sys.stdin:
    name, last, half = json.loads(line)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(write, 1)
        count = kill_at(last, half)
        record(f"{folder}/{name}", lambda said: plain["write"](1, json.dumps(said).encode() + b"\\n"), count)
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        print(json.dumps([json.loads(said) for said in pipe]), flush=True)
"""

Said = dict[str, Any]


class Recordings:
    """Runs recorded by a process that forks for each, so that the imports are paid once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-c", RECORD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def record(self, name: str, *, last: int = 0, half: bool = False) -> Said:
        """What the recording said last of each thing, before it was killed at call `last` (0: never)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([name, last, half]), file=self._process.stdin, flush=True)
        said: Said = {}
        for one in json.loads(self._process.stdout.readline()):
            said |= one
        return said

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture
def recordings(tmp_path: Path) -> Iterator[Recordings]:
    found = Recordings(tmp_path)
    yield found
    found.end()


def check(path: Path, said: Said) -> None:
    """All that a call had returned from is there and right; RunDirError only where nothing had begun."""
    try:
        reader = RunReader(path)
    except RunDirError:
        assert "begin" not in said
        return
    begin = said.get("begin", 0)
    table = reader.scalars()
    iteration = table["iteration"]
    assert iteration.tolist() == list(range(1, len(iteration) + 1))
    assert len(iteration) >= said.get("rows", begin)
    if len(iteration):
        np.testing.assert_array_equal(table["a"], iteration)
        np.testing.assert_array_equal(table["b"], iteration % 2 == 0)
    steps = [snapshot.step for snapshot in reader.snapshots()]
    assert reader.damaged == []
    assert steps == reader.snapshot_steps()
    assert "snapshot" not in said or said["snapshot"] in steps  # earlier ones may have been thinned
    assert len([event for event in reader.events() if event["kind"] == "step"]) >= said.get("events", 0)
    assert said.get("info", 0) <= reader.info.d_calls.get("real", {}).get("d", 0) <= said.get("info", 0) + 1
    assert len(reader.notes) <= 2  # a torn segment and a torn event, of one attempt
    if "closed" in said:
        assert reader.info.status == "finished"
        assert reader.notes == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("half", [False, True], ids=["before it", "half-way"])
def test_a_kill_at_any_call_loses_nothing_that_had_returned(recordings: Recordings, half: bool) -> None:
    """Killed before each of its calls that change the disk, or half-way through each write.

    What was handed over is read, whole; the next attempt takes the run up where it was, and ends as if nothing
    had happened.
    """
    calls = recordings.record("whole")["closed"]
    check(recordings.folder / "whole", {"closed": calls, "rows": 50, "events": 5, "info": 5, "snapshot": 50})
    assert calls > 80
    for last in range(1, calls + 1):
        name = f"run-{last}"
        said = recordings.record(name, last=last, half=half)
        assert "closed" not in said
        check(recordings.folder / name, said)
        if last % 5 == 0:
            writer = RunWriter(recordings.folder / name, info={})
            assert writer.last_iteration >= said.get("rows", 0)
            first = writer.last_iteration + 1
            writer.append({"iteration": np.arange(first, first + 3)})
            writer.close()
            reader = RunReader(recordings.folder / name)
            assert reader.info.status == "finished"
            assert reader.scalars()["iteration"][-1] == first + 2
