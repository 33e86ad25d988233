"""Only RunDirError leaves the reader, whatever bytes are on disk."""

from __future__ import annotations

import contextlib
import json
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import write_run

from gandiag.errors import RunDirError
from gandiag.rundir import RunReader, RunWriter

ROWS = 20  # of each of the two batches

FILES = {
    "info": "run.json",
    "scalars": "rank0.a0/scalars-00000.arrows",
    "later scalars": "rank0.a1/scalars-00000.arrows",
    "snapshot": "rank0.a0/snapshots/step-000000002.safetensors",
    "events": "rank0.a0/events.jsonl",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "run"
    writer = RunWriter(path, info={"command": ["python", "x.py"], "versions": {"torch": "2"}})
    for first in (1, 1 + ROWS):
        columns = {name: rng.standard_normal(ROWS).astype(np.float32) for name in ("loss/d", "loss/g")}
        writer.append({"iteration": np.arange(first, first + ROWS), **columns, "flag": np.ones(ROWS, bool)})
    for step in (1, 2):
        tensors = {
            "real": rng.standard_normal((9, 2)),
            "fake": rng.standard_normal((9, 2)),
            "labels_real": np.arange(9),
        }
        writer.snapshot(step, tensors, {"embedder": "none"})
        writer.event("warning", step=step, words="something happened")
    writer.close()
    write_run(path, scalars={"iteration": np.arange(41, 61), "loss/d": np.ones(20)})
    return path


def read_all(path: Path) -> RunReader | None:
    """Use every method of the reader; None if it raised RunDirError, and any other exception is a failed test."""
    try:
        found = RunReader(path)
        found.table = found.scalars()  # type: ignore[attr-defined]
        found.steps = [s.step for s in found.snapshots()]  # type: ignore[attr-defined]
        found.happened = found.events()  # type: ignore[attr-defined]
    except RunDirError:
        return None
    for step in found.snapshot_steps():
        with contextlib.suppress(RunDirError):
            found.snapshot(step)
    return found


@pytest.mark.parametrize("kind", FILES)
def test_a_file_cut_at_any_byte_costs_only_itself(run: Path, kind: str) -> None:
    """Each file kind, cut at each of its last 600 bytes: the reader raises RunDirError or drops the torn part.

    What lies before the cut, and in every other file, is still read.
    """
    path = run / FILES[kind]
    whole = path.read_bytes()
    unnoticed = 0
    for cut in range(1, min(600, len(whole)) + 1):
        path.write_bytes(whole[:-cut])
        found = read_all(run)
        if kind == "info":
            assert found is None or whole[-cut:].strip() == b""
            continue
        assert found is not None
        rows = len(found.table["iteration"])
        assert rows >= (40 if "scalars" in kind else 60)
        assert found.steps == ([1] if kind == "snapshot" else [1, 2])
        assert len(found.happened) >= (1 if kind == "events" else 3)
        assert len(found.notes) <= 1
        unnoticed += rows < 60 and not found.notes
    # A cut between two messages looks like a run that has not got further, because it may be one.
    assert unnoticed <= 1


@pytest.mark.parametrize("kind", FILES)
def test_random_damage_raises_nothing_else(run: Path, kind: str) -> None:
    """Hundreds of files of each kind with random bytes changed, cut or doubled; numbers never change silently."""
    path = run / FILES[kind]
    whole = path.read_bytes()
    table = RunReader(run).scalars()
    rng = random.Random(FILES[kind])
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 8])):
            # Most of the damage goes where the structure is: headers lie at the front.
            place = rng.randrange(min(700, len(data)) if rng.random() < 0.7 else len(data))
            if rng.random() < 0.9:
                data[place] = rng.choice([0, 0x7F, 0xFF, rng.randrange(256)])
            else:
                data[place:place] = data[place : place + rng.randrange(64)]
        path.write_bytes(data)
        found = read_all(run)
        if found is not None and "scalars" in kind and bytes(data) != whole:
            same = np.isin(table["iteration"], found.table["iteration"])
            for name in set(table) & set(found.table) - {"iteration"}:
                kept = found.table[name][np.isin(found.table["iteration"], table["iteration"])]
                # A damaged schema may rename a column, and then the rows of its batches read NaN here.
                assert np.all(np.isnan(kept) | (kept == table[name][same]))


@pytest.mark.parametrize("kind", FILES)
def test_files_of_anything_else_are_survived(run: Path, kind: str) -> None:
    """Empty files, zeros, text, another kind's bytes, and sizes beyond all limits."""
    path = run / FILES[kind]
    others = [(run / name).read_bytes() for name in FILES.values()]
    for data in (b"", b"\0", b"\0" * 5000, b"\xff" * 5000, b"[]", b"null", b"{}" * 50, b"PK\3\4" + b"\0" * 99, *others):
        path.write_bytes(data)
        read_all(run)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 42)  # sparse: takes no disk
    found = read_all(run)
    assert found is None or found.notes or found.damaged


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


F32 = {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 99_000_000) + b"{" + b" " * 1000,
        safetensors(b"[" * 100_000),
        safetensors([1]),
        safetensors({"__metadata__": {"a": 1}}),
        safetensors({"real": 3}),
        safetensors({"real": F32}, b"\0" * 4),
        safetensors({"real": F32, "fake": F32}, b"\0" * 4),
        safetensors({"real": {**F32, "shape": [2**62, 2**62]}}, b"\0" * 4),
        safetensors({"real": {**F32, "shape": [0, 2**40]}, "fake": F32}, b"\0" * 4),
        safetensors({"real": {**F32, "dtype": "BF16"}}, b"\0" * 4),
        safetensors({"real": {**F32, "data_offsets": [4, 0]}}, b"\0" * 4),
        safetensors({"real": {**F32, "data_offsets": [0, 2**60]}}, b"\0" * 4),
        safetensors({"../../../evil": F32}, b"\0" * 4),
    ],
    ids=lambda data: f"{len(data)} bytes",
)
def test_hostile_snapshot_headers_are_damage(run: Path, data: bytes) -> None:
    """Headers that lie about sizes, types and shapes are refused before anything is allocated for them."""
    (run / FILES["snapshot"]).write_bytes(data)
    found = RunReader(run)
    with pytest.raises(RunDirError, match="is damaged"):
        found.snapshot(2)
    assert [s.step for s in found.snapshots()] == [1]


def test_foreign_arrow_streams_are_left_out(run: Path) -> None:
    """Sound Arrow of another shape (text columns, no iteration, no checksum, doubled names) is noted, not read."""
    import pyarrow as pa

    numbers = pa.array([100, 101])
    tables = [
        pa.table({"iteration": numbers, "words": pa.array(["a", "b"])}),
        pa.table({"iteration": numbers, "words": pa.array(["a", "b"]).dictionary_encode()}),
        pa.table({"iteration": numbers, "list": pa.array([[1], [2]])}),
        pa.table({"other": numbers}),
        pa.table({"iteration": numbers.cast(pa.float32())}),
        pa.table({"iteration": numbers}),  # lacks the checksum
        pa.table([numbers, numbers], names=["iteration", "iteration"]),
        pa.table({f"c{i}": numbers for i in range(20_001)}),
    ]
    for table in tables:
        path = run / "rank0.a1" / "scalars-00001.arrows"
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)
        found = RunReader(run)
        assert len(found.scalars()["iteration"]) == 60
        assert len(found.notes) == 1


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_compressed_bomb_is_never_unpacked(run: Path, codec: str) -> None:
    """A small file whose columns would unpack to 400 MB is refused by its metadata: nothing of it is allocated."""
    import pyarrow as pa

    path = run / "rank0.a1" / "scalars-00001.arrows"
    table = pa.table({"iteration": np.zeros(50_000_000, np.int64)})
    with pa.ipc.new_stream(path, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as stream:
        stream.write_table(table)
    assert path.stat().st_size < 3_000_000
    del table
    pool = pa.default_memory_pool()
    pool.release_unused()
    before = pool.max_memory()
    found = RunReader(run)
    assert len(found.scalars()["iteration"]) == 60
    assert "compressed" in found.notes[0]
    assert pool.max_memory() == before
    assert pool.bytes_allocated() < 10_000_000


def test_columns_that_share_their_bytes_are_refused(run: Path) -> None:
    """Eight columns that all name the same bytes claim more numbers than the file holds; a thousand could, too."""
    import pyarrow as pa

    path = run / "rank0.a1" / "scalars-00001.arrows"
    columns = [pa.array(np.arange(1000)), *[pa.array(np.ones(1000, np.float32))] * 8]
    table = pa.table(columns, names=["iteration", *"abcdefgh"])
    with pa.ipc.new_stream(path, table.schema) as stream:
        stream.write_table(table)
    data = bytearray(path.read_bytes())
    schema, batch = (m for m in pa.ipc.MessageReader.open_stream(path))
    start = schema.serialize().size + 8
    body = start + batch.metadata.size
    for at in range(start, body, 8):
        offset, length = struct.unpack_from("<qq", data, at)
        if length == 4000 and offset > 8000:  # a buffer's place in the body: now that of the first column
            struct.pack_into("<q", data, at, 8000)
        elif offset == batch.body.size:  # the body's length: now without the other seven
            struct.pack_into("<q", data, at, 8000 + 4032)
    path.write_bytes(data[: body + 8000 + 4032])
    with pa.ipc.open_stream(path.read_bytes()) as stream:
        assert stream.read_all()["h"].to_pylist() == [1.0] * 1000  # Arrow itself sees nothing wrong
    found = RunReader(run)
    assert len(found.scalars()["iteration"]) == 60
    assert "share their bytes" in found.notes[0]
