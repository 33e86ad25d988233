"""The last kilobyte of each file kind, torn, changed or blanked at each of its offsets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gandiag.errors import RunDirError
from gandiag.rundir import RunReader, RunWriter

KILOBYTE = 1024
FLUSHES, ROWS = 40, 10


def tear(data: bytes, offset: int) -> bytes:
    """The file ends here."""
    return data[:offset]


def flip(data: bytes, offset: int) -> bytes:
    """Each bit of one byte is the other one."""
    return data[:offset] + bytes([data[offset] ^ 0xFF]) + data[offset + 1 :]


def blank(data: bytes, offset: int) -> bytes:
    """From here on the file is zeros, as a power cut leaves blocks that were allocated and never written."""
    return data[:offset] + bytes(len(data) - offset)


DAMAGES = (tear, flip, blank)


class Recorded:
    """A run of which each file is longer than a kilobyte, and how far its files were after each call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.scalars = path / "rank0.a0" / "scalars-00000.arrows"
        self.events = path / "rank0.a0" / "events.jsonl"
        self.flushed: list[int] = []  # bytes of the segment after each flush
        writer = RunWriter(path, info={"options": {"word": "x" * KILOBYTE}})
        for flush in range(FLUSHES):
            iteration = np.arange(ROWS * flush, ROWS * (flush + 1))
            writer.append({"iteration": iteration, "a": iteration.astype(np.float32), "b": iteration % 3 == 0})
            writer.event("step", step=flush, words="something happened")
            self.flushed.append(self.scalars.stat().st_size)
        points = np.arange(400.0).reshape(200, 2)
        for step in (1, 2):
            writer.snapshot(step, {"real": points, "fake": points, "labels_real": np.arange(200)}, {})
        writer.close()
        self.snapshot = path / "rank0.a0" / "snapshots" / "step-000000002.safetensors"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(tmp_path_factory.mktemp("recorded") / "run")


def damaged(path: Path, damage: Callable[[bytes, int], bytes]) -> Iterator[int]:
    """Damage a file at each offset of its last kilobyte in turn; afterwards it is as it was."""
    whole = path.read_bytes()
    assert len(whole) >= KILOBYTE
    try:
        for offset in range(len(whole) - KILOBYTE, len(whole)):
            path.write_bytes(damage(whole, offset))
            yield offset
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("damage", DAMAGES)
def test_scalars(recorded: Recorded, damage: Callable[[bytes, int], bytes]) -> None:
    """What lies before is all there, and no number is another one than was written."""
    for offset in damaged(recorded.scalars, damage):
        reader = RunReader(recorded.path)
        table = reader.scalars()
        before = ROWS * sum(end <= offset for end in recorded.flushed)
        iteration = table["iteration"]
        assert iteration[:before].tolist() == list(range(before))
        assert set(iteration.tolist()) <= set(range(FLUSHES * ROWS))
        np.testing.assert_array_equal(table["a"], iteration)
        np.testing.assert_array_equal(table["b"], iteration % 3 == 0)
        # Whoever misses rows is told, but for a cut between two flushes: it may be a run that got no further.
        lost = FLUSHES * ROWS - len(iteration)
        assert not lost or reader.notes or (damage is tear and offset in recorded.flushed)


@pytest.mark.parametrize("damage", DAMAGES)
def test_snapshots(recorded: Recorded, damage: Callable[[bytes, int], bytes]) -> None:
    """The snapshot is refused with a RunDirError that names the file and the cure, and the other one is read."""
    for _ in damaged(recorded.snapshot, damage):
        changed = recorded.snapshot.read_bytes()
        reader = RunReader(recorded.path)
        steps = [snapshot.step for snapshot in reader.snapshots()]
        if steps == [1, 2]:  # zeros over zeros: nothing has changed
            assert damage is blank
            assert not changed[-8:].strip(b"\0")
            continue
        assert steps == [1]
        assert len(reader.damaged) == 1
        with pytest.raises(RunDirError, match=r"step-000000002.*is damaged.*delete it"):
            reader.snapshot(2)


@pytest.mark.parametrize("damage", DAMAGES)
def test_events(recorded: Recorded, damage: Callable[[bytes, int], bytes]) -> None:
    """All lines but the damaged ones are read; a line that was cut is left out and counted."""
    whole = recorded.events.read_bytes()
    for offset in damaged(recorded.events, damage):
        reader = RunReader(recorded.path)
        found = reader.events()
        before = whole[:offset].count(b"\n")
        assert [event["step"] for event in found[:before]] == list(range(before))
        after = whole[offset + 1 :].count(b"\n") if damage is flip else 0
        # A changed line feed joins two lines; each other change is one line's alone.
        assert len(found) >= before + max(0, after - 1)


@pytest.mark.parametrize("damage", DAMAGES)
def test_info(recorded: Recorded, damage: Callable[[bytes, int], bytes]) -> None:
    """`run.json` is read, or refused with a message that names it and says what to do."""
    path = recorded.path / "run.json"
    refused = set()
    for offset in damaged(path, damage):
        try:
            RunReader(recorded.path)
        except RunDirError as error:
            refused.add(offset)
            text = str(error)
        else:
            continue
        assert "run.json" in text
        assert any(cure in text for cure in ("restore it", "record again", "give a directory"))
    # One flipped letter of a text is another text, which nothing can tell.
    assert len(refused) >= (1 if damage is flip else KILOBYTE - 2)
