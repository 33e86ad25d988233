"""Reading a run directory: what is joined, what is refused, and with which words."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import write_run

from gandiag.errors import RunDirError
from gandiag.rundir import SCHEMA, RunReader, RunWriter, reader

INFO = {"schema": SCHEMA, "id": "x"}


def put_info(path: Path, info: object) -> Path:
    path.mkdir(exist_ok=True)
    (path / "run.json").write_text(info if isinstance(info, str) else json.dumps(info))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    cloud = np.ones((3, 2), np.float32)
    return write_run(
        tmp_path / "run",
        scalars={"loss/d": [1.0, np.nan, 3.0]},
        snapshots=[{"step": step, "real": cloud, "fake": step * cloud} for step in (1, 2, 3)],
        events=[{"kind": "warning", "step": 2, "words": "x"}],
    )


def test_a_run_comes_back_as_it_was_written(run: Path) -> None:
    """Scalars, snapshots, events and facts are all there, and nothing is noted."""
    found = RunReader(run)
    assert (found.info.status, found.info.device, found.derived) == ("finished", "cpu", run / "derived")
    table = found.scalars()
    assert {name: values.dtype for name, values in table.items()} == {"iteration": np.int64, "loss/d": np.float32}
    np.testing.assert_array_equal(table["loss/d"], np.float32([1, np.nan, 3]))
    assert [s.step for s in found.snapshots()] == found.snapshot_steps() == [1, 2, 3]
    assert [(e["kind"], e["step"], e["words"], e["rank"], e["attempt"]) for e in found.events()] == [
        ("warning", 2, "x", 0, 0)
    ]
    assert (found.notes, found.damaged) == ([], [])


def test_a_run_that_recorded_nothing_is_readable(tmp_path: Path) -> None:
    """A run killed before its first flush has no rows: empty, not an error."""
    found = RunReader(write_run(tmp_path / "run", scalars={}, status="running"))
    assert {name: len(values) for name, values in found.scalars().items()} == {"iteration": 0}
    assert (found.snapshot_steps(), found.events(), list(found.snapshots())) == ([], [], [])


def test_the_later_attempt_wins_where_two_overlap(tmp_path: Path) -> None:
    """After a rollback the same iterations are recorded twice: the whole row is the later attempt's."""
    write_run(tmp_path / "run", scalars={"iteration": np.arange(1, 7), "a": np.full(6, 1.0), "b": np.full(6, 1.0)})
    write_run(tmp_path / "run", scalars={"iteration": np.arange(4, 9), "a": np.full(5, 2.0)})
    table = RunReader(tmp_path / "run").scalars()
    np.testing.assert_array_equal(table["iteration"], np.arange(1, 9))
    np.testing.assert_array_equal(table["a"], np.float32([1, 1, 1, 2, 2, 2, 2, 2]))
    np.testing.assert_array_equal(table["b"], np.float32([1, 1, 1] + [np.nan] * 5))


def test_attempts_are_ordered_by_number_and_not_by_name(tmp_path: Path) -> None:
    """Attempt 10 comes after attempt 9, though its name sorts before it."""
    for attempt in range(11):
        write_run(tmp_path / "run", scalars={"iteration": [1], "a": [float(attempt)]})
    assert RunReader(tmp_path / "run").scalars()["a"].tolist() == [10.0]


def test_rows_come_in_order_and_their_parts_are_joined(tmp_path: Path) -> None:
    """Rows out of order are sorted; two rows of one iteration complete each other, the later measurement winning."""
    writer = RunWriter(tmp_path / "run", info={})
    writer.append({"iteration": np.array([3, 1]), "a": np.float32([3, 1])})
    writer.append({"iteration": np.array([2, 3]), "a": np.float32([2, np.nan]), "b": np.float32([7, 8])})
    table = RunReader(tmp_path / "run").scalars()
    np.testing.assert_array_equal(table["iteration"], [1, 2, 3])
    np.testing.assert_array_equal(table["a"], np.float32([1, 2, 3]))
    np.testing.assert_array_equal(table["b"], np.float32([np.nan, 7, 8]))


def test_single_columns_can_be_asked_for(run: Path) -> None:
    """`names=` loads only those that exist; "iteration" is always there."""
    assert list(RunReader(run).scalars(names=["loss/g"])) == ["iteration"]
    assert list(RunReader(run).scalars(names=["loss/d", "loss/g"])) == ["iteration", "loss/d"]


def test_a_table_larger_than_memory_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few bytes can name many rows and many columns: their product is bounded, and the cure is to ask for fewer."""
    monkeypatch.setattr(reader, "MAX_CELLS", 2)
    with pytest.raises(RunDirError, match=r"names=\['loss/d'\]"):
        RunReader(run).scalars()


def test_a_torn_segment_does_not_hide_the_next(tmp_path: Path) -> None:
    """What follows a segment that a full disk tore is read; the tear is noted once."""
    writer = RunWriter(tmp_path / "run", info={}, rotate_at=1)
    for step in (1, 2, 3):
        writer.append({"iteration": np.array([step])})
    middle = writer.folder / "scalars-00001.arrows"
    middle.write_bytes(middle.read_bytes()[:-20])
    found = RunReader(tmp_path / "run")
    for _ in range(2):
        assert found.scalars()["iteration"].tolist() == [1, 3]
        assert len(found.notes) == 1
        assert found.notes[0].startswith(str(Path("rank0.a0", "scalars-00001.arrows")))


def test_a_note_goes_when_the_tail_is_whole(tmp_path: Path) -> None:
    """A live run may be read in the middle of a write: the next reading finds the rest and takes the note back."""
    writer = RunWriter(tmp_path / "run", info={})
    writer.append({"iteration": np.array([1])})
    writer.append({"iteration": np.array([2])})
    path = writer.folder / "scalars-00000.arrows"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    found = RunReader(tmp_path / "run")
    assert found.scalars()["iteration"].tolist() == [1]
    assert len(found.notes) == 1
    path.write_bytes(whole)
    assert found.scalars()["iteration"].tolist() == [1, 2]
    assert found.notes == []


def test_torn_event_lines_are_counted(run: Path) -> None:
    """Half a line, a line that is no object, one of a foreign program and one of binary are left out and counted."""
    with (run / "rank0.a0" / "events.jsonl").open("ab") as file:
        file.write(b'[1]\n{"no": "kind"}\n{"kind": "x", "step": -1}\n\xff\xfe\n\n{"kind": "good"}\n{"kind": "to')
    found = RunReader(run)
    assert [e["kind"] for e in found.events()] == ["warning", "good"]
    assert "5 torn or unreadable lines" in found.notes[0]


def test_what_reaches_a_terminal_is_plain_text(tmp_path: Path) -> None:
    """Escape sequences and lone surrogates in texts from disk are defused: printing them is safe."""
    put_info(tmp_path / "run", {**INFO, "device": "\x1b[2Jcpu", "command": ["\ud800x"]})
    (tmp_path / "run" / "rank0.a0").mkdir()
    (tmp_path / "run" / "rank0.a0" / "events.jsonl").write_text('{"kind": "\\u001b]0;x\\u0007"}\n')
    found = RunReader(tmp_path / "run")
    assert (found.info.device, found.info.command) == ("\ufffd[2Jcpu", ["\ufffdx"])
    assert found.events()[0]["kind"] == "\ufffd]0;x\ufffd"


def test_links_and_foreign_files_are_passed_over(run: Path, tmp_path: Path) -> None:
    """Nothing outside the run directory is read through a link, and unknown names in it are ignored."""
    other = write_run(
        tmp_path / "other", scalars={"secret": [1.0]}, snapshots=[{"step": 9, "real": [[1.0]], "fake": [[1.0]]}]
    )
    folder = run / "rank0.a0"
    (run / "rank0.a1").symlink_to(other / "rank0.a0")
    (folder / "scalars-00007.arrows").symlink_to(other / "rank0.a0" / "scalars-00000.arrows")
    (folder / "snapshots" / "step-000000009.safetensors").symlink_to(
        other / "rank0.a0" / "snapshots" / "step-000000009.safetensors"
    )
    (folder / "scalars-00008.arrows").mkdir()
    for name in ("scalars-00009.arrows.bak", "scalars-x.arrows", ".DS_Store", "snapshots/step-9.safetensors"):
        (folder / name).write_bytes(b"foreign")
    (run / "rank0").mkdir()
    (run / "rank0.a2").write_bytes(b"a file")
    found = RunReader(run)
    assert list(found.scalars()) == ["iteration", "loss/d"]
    assert found.snapshot_steps() == [1, 2, 3]
    assert (found.notes, len(found.events())) == ([], 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_place_of_a_file_does_not_hang(run: Path) -> None:
    """A named pipe called run.json or events.jsonl is refused; a plain `open` would wait for ever."""
    events = run / "rank0.a0" / "events.jsonl"
    events.unlink()
    os.mkfifo(events)
    found = RunReader(run)
    assert found.events() == []
    assert "not a regular file" in found.notes[0]
    (run / "run.json").unlink()
    os.mkfifo(run / "run.json")
    with pytest.raises(RunDirError, match="not a regular file"):
        RunReader(run)


def test_damaged_snapshots_are_named_and_passed_over(run: Path) -> None:
    """One bad file does not hide the others: it is listed, once, with its name and why."""
    bad = run / "rank0.a0" / "snapshots" / "step-000000002.safetensors"
    data = bytearray(bad.read_bytes())
    data[-1] ^= 1
    bad.write_bytes(data)
    found = RunReader(run)
    for _ in range(2):
        assert [s.step for s in found.snapshots()] == [1, 3]
        assert len(found.damaged) == 1
    assert "step-000000002.safetensors is damaged" in found.damaged[0]
    with pytest.raises(RunDirError, match="checksum"):
        found.snapshot(2)


def test_a_snapshot_thinned_while_reading_is_no_damage(run: Path) -> None:
    """The run goes on and gives up a snapshot between our look and our reading: it is just gone."""
    found = RunReader(run)
    snapshots = found.snapshots()
    assert next(snapshots).step == 1
    (run / "rank0.a0" / "snapshots" / "step-000000002.safetensors").unlink()
    assert [s.step for s in snapshots] == [3]
    assert found.damaged == []


def test_derived_files_are_written_beside_the_recording(run: Path) -> None:
    """`derived/` is made when needed, a file in it replaced at once, and nothing temporary stays."""
    found = RunReader(run)
    found.write_derived("nulls.json", "{}")
    assert found.write_derived("nulls.json", b"{1}").read_bytes() == b"{1}"
    assert [p.name for p in found.derived.iterdir()] == ["nulls.json"]


@pytest.mark.parametrize("name", ["../x", "a/b", "/x", "", ".", "..", ".hidden", "a\0b", "a\n", "x" * 200])
def test_derived_names_stay_inside(run: Path, name: str) -> None:
    """No name can lead out of `derived/`."""
    with pytest.raises(RunDirError, match="plain name"):
        RunReader(run).write_derived(name, b"x")


def test_derived_is_never_followed_elsewhere(run: Path, tmp_path: Path) -> None:
    """A run directory from elsewhere whose `derived` is a link cannot make us overwrite other files."""
    (tmp_path / "mine").mkdir()
    (run / "derived").symlink_to(tmp_path / "mine")
    with pytest.raises(RunDirError, match="is a link"):
        RunReader(run).write_derived("x", b"x")
    assert list((tmp_path / "mine").iterdir()) == []


def test_each_way_not_to_be_a_run_directory_has_its_own_message(tmp_path: Path) -> None:
    """Missing, empty, a file, a file in it, no run.json: each message names the path and the cure."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "run.json").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_text("x")
    said = {}
    for name in ("missing", "empty", "file", "run.json", "folder", "file/below", "nul\0", "x" * 5000):
        with pytest.raises(RunDirError) as caught:
            RunReader(tmp_path / name)
        said[name] = str(caught.value)
        assert str(tmp_path) in said[name].replace("\\x00", "\0")
    assert "no run directory" in said["missing"]
    assert "`gandiag run`" in said["missing"]
    assert "empty directory" in said["empty"]
    assert "is a file" in said["file"]
    assert f"give {tmp_path}" in said["run.json"]
    assert "is missing" in said["folder"]
    assert len({text.replace(name, "") for name, text in said.items()}) >= 6


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ("", "empty file"),
        ("{", "not readable JSON"),
        ("[1]", "JSON list"),
        ("[" * 100_000, "not readable JSON"),
        ('{"schema": ' + '{"a":' * 50 + "1" + "}" * 51, "nested deeper"),
        ("\x00" * 200, "not readable JSON"),
        ({}, "not written by gandiag"),
        ({"name": "npm"}, "not written by gandiag"),
        ({"schema": 1}, "not written by gandiag"),
        ({"schema": "other.run/1"}, "not written by gandiag"),
        ({"schema": "gandiag.diagnosis/1"}, "not written by gandiag"),
        ({"schema": "gandiag.run/2"}, "upgrade"),
        ({"schema": "gandiag.run/17"}, "upgrade"),
        ({"schema": "gandiag.run/0"}, "unknown format"),
        ({"schema": "gandiag.run/" + "9" * 5000}, "unknown format"),
        ({"schema": SCHEMA}, "damaged"),
        ({**INFO, "id": ""}, "damaged"),
        ({**INFO, "id": "x" * 1000}, "damaged"),
        ({**INFO, "command": "rm -rf /"}, "command"),
        ({**INFO, "roles": []}, "roles"),
        ({**INFO, "roles": {"generator": {"classes": "G"}}}, "classes"),
        ({**INFO, "roles": {"generator": {"confidence": 2}}}, "confidence"),
        ({**INFO, "roles": {"generator": {"parameters": True}}}, "parameters"),
        ({**INFO, "d_calls": {"real": {"d": -1}}}, "d_calls"),
        ({**INFO, "d_calls": {"real": 3}}, "d_calls"),
        ({**INFO, "techniques": [{"params": {}}]}, "technique"),
        ({**INFO, "status": "sleeping"}, "status"),
        ({**INFO, "ranks": 10**400}, "ranks"),
    ],
    ids=lambda value: repr(value)[:40] if not isinstance(value, str) else value[:20],
)
def test_a_bad_run_json_names_file_and_fault(tmp_path: Path, info: object, words: str) -> None:
    """Whatever `run.json` holds, the message names the file and the fault, in a length that fits a screen."""
    with pytest.raises(RunDirError, match=words) as caught:
        RunReader(put_info(tmp_path / "run", info))
    assert "run.json" in str(caught.value)
    assert len(str(caught.value)) < 600 + len(str(tmp_path))


def test_a_huge_run_json_is_not_read(tmp_path: Path) -> None:
    """A sparse file of a terabyte in place of `run.json` is refused by its size."""
    put_info(tmp_path / "run", INFO)
    os.truncate(tmp_path / "run" / "run.json", 1 << 40)
    with pytest.raises(RunDirError, match="1099511627776 bytes"):
        RunReader(tmp_path / "run")


def test_unknown_fields_and_a_minimal_file_are_fine(tmp_path: Path) -> None:
    """A recording of another 1.x version may know more or less: what is not known is kept, the rest has defaults."""
    info = RunReader(put_info(tmp_path / "run", {**INFO, "new": {"a": [1]}, "techniques": [{"name": "r1"}]})).info
    assert info.model_extra == {"new": {"a": [1]}}
    assert (info.ranks, info.status, info.roles) == (1, "running", {})
    assert info.techniques == [{"name": "r1", "params": {}}]
