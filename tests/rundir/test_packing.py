"""Segments of slow trainings: many small batches become few large ones, and no row changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gandiag.rundir import RunReader, RunWriter, _packing, segments

COLUMNS = 60
FLUSH = 5


def rows(first: int, count: int) -> dict[str, np.ndarray]:
    """Rows of each type, with what a training may hold."""
    rng = np.random.default_rng(first)
    columns = {f"column/{i:02d}": rng.standard_normal(count).astype(np.float32) for i in range(COLUMNS - 3)}
    columns["column/00"][0] = np.nan
    columns["column/01"][0] = np.inf
    flags = {"flag": rng.random(count) < 0.5, "count": rng.integers(-(2**40), 2**40, count)}
    return {"iteration": np.arange(first, first + count), **columns, **flags}


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pack after 20 batches instead of 1,000."""
    monkeypatch.setattr(segments, "BATCHES", 20)


def record(path: Path, *, iterations: int, flush: int = FLUSH) -> RunWriter:
    writer = RunWriter(path, info={})
    for first in range(1, iterations + 1, flush):
        writer.append(rows(first, flush))
    return writer


def raw(path: Path) -> dict[str, np.ndarray]:
    """What Arrow itself finds in all segments, so that types are seen as they are stored."""
    import pyarrow as pa

    tables = []
    for segment in sorted(path.glob("rank0.a0/*.arrows")):
        with pa.ipc.open_stream(segment.read_bytes()) as stream:
            tables.append(stream.read_all())
    table = pa.concat_tables(tables)
    return {name: table[name].to_numpy() for name in table.column_names}


@pytest.mark.usefixtures("_small")
def test_packing_changes_no_number(tmp_path: Path) -> None:
    """The same rows, bit by bit and type by type, through Arrow alone and through the reader; no note is left."""
    record(tmp_path / "run", iterations=600).close()
    assert len(list(tmp_path.glob("run/rank0.a0/*.arrows"))) == 6
    expected = [rows(first, FLUSH) for first in range(1, 601, FLUSH)]
    found = raw(tmp_path / "run")
    assert set(found) == set(expected[0])
    for name, column in found.items():
        whole = np.concatenate([part[name] for part in expected])
        assert column.dtype == whole.dtype
        np.testing.assert_array_equal(column, whole)
    reader = RunReader(tmp_path / "run")
    np.testing.assert_array_equal(reader.scalars()["iteration"], np.arange(1, 601))
    assert reader.notes == []


def test_a_slow_training_takes_no_more_room_than_a_fast_one(tmp_path: Path) -> None:
    """A million iterations of 60 columns fit into 300 MB also where each flush holds five rows.

    It takes 915 bytes a row to write them, and 300 at most to keep them; the last segment is not yet packed.
    """
    record(tmp_path / "run", iterations=3 * _packing.BATCHES * FLUSH).close()
    *packed, last = sorted(tmp_path.glob("run/rank0.a0/*.arrows"))
    assert len(packed) == 2
    assert sum(path.stat().st_size for path in packed) <= 300 * 2 * _packing.BATCHES * FLUSH
    assert last.stat().st_size > 600 * _packing.BATCHES * FLUSH


def test_a_fast_training_is_never_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 100 rows stay where they were written: packing costs time, and would win a tenth."""
    monkeypatch.setattr(segments, "BATCHES", 20)
    record(tmp_path / "run", iterations=5_000, flush=100).close()
    assert [path.name for path in tmp_path.glob("run/rank0.a0/*.arrows")] == ["scalars-00000.arrows"]


@pytest.mark.usefixtures("_small")
def test_a_disk_without_room_for_both_keeps_the_loose_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packing is a courtesy: where it fails nothing is lost, and recording goes on."""

    def full(*args: object, **kwargs: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_packing, "write_atomically", full)
    record(tmp_path / "run", iterations=300).close()
    np.testing.assert_array_equal(RunReader(tmp_path / "run").scalars()["iteration"], np.arange(1, 301))


@pytest.mark.usefixtures("_small")
def test_damage_is_not_packed_away(tmp_path: Path) -> None:
    """A batch that a disk has changed is left out by the reader and named: new checksums must not vouch for it."""
    writer = record(tmp_path / "run", iterations=20 * FLUSH)
    path = tmp_path / "run" / "rank0.a0" / "scalars-00000.arrows"
    data = bytearray(path.read_bytes())
    data[data.index(rows(1, FLUSH)["column/10"].tobytes())] ^= 1
    path.write_bytes(data)
    writer.append(rows(20 * FLUSH + 1, FLUSH))
    writer.close()
    reader = RunReader(tmp_path / "run")
    assert len(reader.scalars()["iteration"]) == 20 * FLUSH
    assert len(reader.notes) == 1
    assert "damaged" in reader.notes[0]
