"""Writing a run directory: what lies there, who may write where, and how a run is continued."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gandiag.errors import RunDirError, ShapeError, UsageError
from gandiag.rundir import RunReader, RunWriter, default_path


def rows(first: int, last: int, **columns: float) -> dict[str, np.ndarray]:
    """Columns for the iterations `first` to `last`, both included."""
    n = last - first + 1
    return {"iteration": np.arange(first, last + 1), **{k: np.full(n, v, np.float32) for k, v in columns.items()}}


def cloud(n: int = 6, d: int = 2) -> np.ndarray:
    return np.linspace(0, 1, n * d, dtype=np.float32).reshape(n, d)


def test_importing_it_loads_nothing_heavy() -> None:
    """The command line reads run directories without paying for torch; pyarrow too waits for the first use."""
    code = "import gandiag.rundir, sys; print({'torch', 'pyarrow', 'safetensors'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_recording_never_imports_torch(tmp_path: Path) -> None:
    """Writing and reading a whole run works without torch."""
    code = (
        "import sys, numpy as np\n"
        "from gandiag.rundir import RunReader, RunWriter\n"
        "w = RunWriter(sys.argv[1], info={})\n"
        "w.append({'iteration': np.arange(3)}); x = np.ones((3, 2)); w.snapshot(1, {'real': x, 'fake': x}, {})\n"
        "w.close(); r = RunReader(sys.argv[1]); r.scalars(); r.snapshot(1); r.events()\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "run"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    """Names of files and folders are part of the format: other tools may rely on them."""
    writer = RunWriter(tmp_path / "new" / "run", info={"command": ["python", "x.py"]})
    writer.append(rows(1, 5))
    writer.snapshot(1200, {"real": cloud(), "fake": cloud()}, {})
    writer.event("hello", step=1)
    writer.close()
    files = sorted(str(p.relative_to(writer.path)) for p in writer.path.rglob("*") if p.is_file())
    assert files == [
        "rank0.a0/events.jsonl",
        "rank0.a0/scalars-00000.arrows",
        "rank0.a0/snapshots/step-000001200.safetensors",
        "run.json",
    ]


def test_segments_are_plain_arrow_streams(tmp_path: Path) -> None:
    """Anything that reads Arrow IPC streams reads the scalars: the checksums hide in the batches' metadata."""
    import pyarrow as pa

    writer = RunWriter(tmp_path / "run", info={})
    writer.append({**rows(1, 5, b=2.0), "flag": np.ones(5, bool), "count": np.ones(5, np.int32)})
    writer.close()
    with pa.ipc.open_stream((writer.folder / "scalars-00000.arrows").read_bytes()) as stream:
        table = stream.read_all()
    assert {field.name: str(field.type) for field in table.schema} == {
        "iteration": "int64",
        "b": "float",
        "count": "int64",
        "flag": "bool",
    }


def test_appended_rows_can_be_read_at_once(tmp_path: Path) -> None:
    """Reading works while the run goes on: each `append` is visible when it returns."""
    writer = RunWriter(tmp_path / "run", info={})
    for first in (1, 11, 21):
        writer.append(rows(first, first + 9, loss=first))
        reader = RunReader(tmp_path / "run")
        assert reader.scalars()["iteration"][-1] == first + 9
        assert reader.notes == []
        assert reader.info.status == "running"


def test_a_new_set_of_columns_begins_a_new_segment(tmp_path: Path) -> None:
    """Columns may change on the way; where one is absent the reader has NaN. Their order does not matter."""
    writer = RunWriter(tmp_path / "run", info={})
    writer.append(rows(1, 2, a=1, b=2))
    writer.append(rows(3, 4, b=2, a=1))
    writer.append(rows(5, 6, a=1))
    writer.append(rows(7, 8, a=1, b=3))
    assert len(list(writer.folder.glob("*.arrows"))) == 3
    table = RunReader(tmp_path / "run").scalars()
    np.testing.assert_array_equal(table["iteration"], np.arange(1, 9))
    np.testing.assert_array_equal(table["b"], np.float32([2, 2, 2, 2, np.nan, np.nan, 3, 3]))


def test_segments_are_rotated_by_size(tmp_path: Path) -> None:
    """No segment grows for ever: beyond the limit the next batch opens another, and all are read in order."""
    writer = RunWriter(tmp_path / "run", info={}, rotate_at=4000)
    for first in range(0, 1000, 100):
        writer.append(rows(first, first + 99, a=first))
    assert len(list(writer.folder.glob("*.arrows"))) > 2
    np.testing.assert_array_equal(RunReader(tmp_path / "run").scalars()["iteration"], np.arange(1000))


@pytest.mark.parametrize(
    ("columns", "cure"),
    [
        ({"a": np.ones(3)}, "add it"),
        ({"iteration": np.arange(3), "a": np.ones(2)}, "equal lengths"),
        ({"iteration": np.arange(3), "a": np.ones((3, 1))}, "one number for each row"),
        ({"iteration": np.ones(3)}, "int64"),
        ({"iteration": np.arange(3), "a": np.array(["x"] * 3)}, "int64, float32 or bool"),
        ({"iteration": np.array([-1])}, "from 0 up"),
        ({"iteration": np.arange(3), "": np.ones(3)}, "1 to 512"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path: Path, columns: dict[str, np.ndarray], cure: str) -> None:
    """A mistake of a probe is told at once and leaves the file as it was."""
    writer = RunWriter(tmp_path / "run", info={})
    writer.append(rows(1, 2))
    with pytest.raises(ShapeError, match=cure):
        writer.append(columns)
    writer.append(rows(3, 4))
    reader = RunReader(tmp_path / "run")
    assert (list(reader.scalars()["iteration"]), reader.notes) == ([1, 2, 3, 4], [])


def test_a_second_writer_continues_as_the_next_attempt(tmp_path: Path) -> None:
    """A resumed run keeps its id and its step axis, and its command may have changed."""
    first = RunWriter(tmp_path / "run", info={"command": ["a"], "parent": "p", "extra": 1})
    first.append(rows(1, 100))
    first.close("failed")
    second = RunWriter(tmp_path / "run", info={"command": ["b"]})
    assert (first.attempt, second.attempt) == (0, 1)
    assert (first.last_iteration, second.last_iteration) == (0, 100)
    assert second.id == first.id
    info = RunReader(tmp_path / "run").info
    assert (info.command, info.parent, info.status, info.model_extra) == (["b"], "p", "running", {"extra": 1})
    assert [e["kind"] for e in RunReader(tmp_path / "run").events()] == ["attempt"]


def test_a_snapshot_counts_for_the_last_iteration(tmp_path: Path) -> None:
    """A killed run may have a snapshot of an iteration whose scalars were still waiting for the next flush."""
    first = RunWriter(tmp_path / "run", info={})
    first.append(rows(1, 100))
    first.snapshot(120, {"real": cloud(), "fake": cloud()}, {})
    assert RunWriter(tmp_path / "run", info={}).last_iteration == 120


def test_the_last_iteration_survives_a_torn_last_segment(tmp_path: Path) -> None:
    """A segment that was torn in its very first message leaves the one before it to say where the run stood."""
    first = RunWriter(tmp_path / "run", info={})
    first.append(rows(1, 100))
    (first.folder / "scalars-00001.arrows").write_bytes(b"\xff\xff\xff\xff\x10")
    assert RunWriter(tmp_path / "run", info={}).last_iteration == 100


def _race(path: Path, barrier: multiprocessing.synchronize.Barrier, results: multiprocessing.Queue) -> None:
    barrier.wait()
    writer = RunWriter(path, info={})
    writer.append(rows(1, 3))
    results.put((writer.attempt, writer.id))


def test_processes_that_race_for_one_directory_get_folders_of_their_own(tmp_path: Path) -> None:
    """Two trainings aimed at one run directory by mistake never write into each other's files, and share one id."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_race, args=(tmp_path / "run", barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(attempt for attempt, _ in found) == [0, 1, 2, 3]
    assert len({name for _, name in found}) == 1


def test_a_file_system_without_hard_links_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first `run.json` is put in place by a link where there are links, and by a rename where there are none."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first = RunWriter(tmp_path / "run", info={})
    second = RunWriter(tmp_path / "run", info={})
    assert (RunReader(tmp_path / "run").info.id, second.id) == (first.id, first.id)
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_ranks_above_zero_write_only_their_own_folder(tmp_path: Path) -> None:
    """Each rank has its folder; `run.json` is rank 0's, whatever the others call."""
    other = RunWriter(tmp_path / "run", info={"id": "x"}, rank=3)
    other.update_info(device="cuda:3")
    other.append(rows(1, 3))
    other.event("warning", step=2)
    other.close()
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["rank3.a0"]
    zero = RunWriter(tmp_path / "run", info={"id": "x", "ranks": 4})
    zero.append(rows(1, 5))
    reader = RunReader(tmp_path / "run")
    assert len(reader.scalars()["iteration"]) == 5
    assert [(e["rank"], e["kind"]) for e in reader.events()] == [(3, "warning")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_writes_nothing(tmp_path: Path) -> None:
    """DataLoader workers inherit the writer; nothing they do with it may reach the run directory."""
    writer = RunWriter(tmp_path / "run", info={})
    child = os.fork()
    if child == 0:
        try:
            writer.append(rows(1, 3))
            writer.event("from the child")
            writer.snapshot(1, {"real": cloud(), "fake": cloud()}, {})
            writer.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert [p.name for p in writer.folder.iterdir()] == []
    assert RunReader(tmp_path / "run").info.status == "running"


def test_info_is_plain_json_whatever_it_is_given(tmp_path: Path) -> None:
    """Paths, NumPy numbers, tuples and NaN become JSON; undecodable bytes of argv do not break the file."""
    writer = RunWriter(
        tmp_path / "run", info={"command": ("python", Path("x.py"), "caf\udce9"), "versions": {"a": "1"}}
    )
    writer.update_info(
        d_calls={"real": {"d": np.int64(3)}},
        roles={"generator": {"classes": ("G",), "parameters": np.int64(5), "confidence": float("nan")}},
        blind_spots=["compiled"],
        mine={"a": np.float32(0.5)},
    )
    written = json.loads((tmp_path / "run" / "run.json").read_text())
    assert written["schema"] == "gandiag.run/1"
    assert written["command"] == ["python", "x.py", "caf\ufffd"]
    assert written["roles"]["generator"] == {"classes": ["G"], "parameters": 5, "confidence": None}
    assert (written["d_calls"], written["mine"]) == ({"real": {"d": 3}}, {"a": 0.5})
    assert RunReader(tmp_path / "run").info.model_extra == {"mine": {"a": 0.5}}


def test_wrong_info_is_refused_when_it_is_written(tmp_path: Path) -> None:
    """The writer validates as the reader does: no recording ends in a `run.json` that nobody can read."""
    writer = RunWriter(tmp_path / "run", info={})
    with pytest.raises(RunDirError, match=r"d_calls\.real"):
        writer.update_info(d_calls={"real": 3})
    assert RunReader(tmp_path / "run").info.d_calls == {}


def test_closing_twice_is_harmless_and_writing_after_it_is_not(tmp_path: Path) -> None:
    """`close` may be called by the script and again at exit; recording on is a mistake that says so."""
    writer = RunWriter(tmp_path / "run", info={})
    writer.close("failed")
    writer.close()
    assert RunReader(tmp_path / "run").info.status == "failed"
    with pytest.raises(RunDirError, match="new RunWriter"):
        writer.append(rows(1, 2))


def test_events_too_long_to_be_read_are_refused(tmp_path: Path) -> None:
    """A line that the reader would drop is refused by the writer."""
    writer = RunWriter(tmp_path / "run", info={})
    with pytest.raises(UsageError, match="say less"):
        writer.event("big", data=list(range(300_000)))
    assert RunReader(tmp_path / "run").events() == []


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """A `run.json` of another program, or of a newer gandiag, stops the writer before it has made anything."""
    for text in ('{"name": "not ours"}', '{"schema": "gandiag.run/2"}'):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(RunDirError):
            RunWriter(tmp_path, info={})
        assert [p.name for p in tmp_path.iterdir()] == ["run.json"]
        assert (tmp_path / "run.json").read_text() == text


def test_the_default_path_names_script_date_and_id() -> None:
    """`runs/<script name>-<date>-<id>`, whatever the script is called, and never the same twice."""
    assert re.fullmatch(r"runs/train-gan-\d{4}-\d\d-\d\d-[0-9a-f]{6}", default_path("a/train gan.py").as_posix())
    for odd in ("../..", "-m", "", "a\nb", "/"):
        path = default_path(odd)
        assert len(path.parts) == 2
        assert re.fullmatch(r"[A-Za-z0-9_][\w.-]*", path.name)
    assert default_path("x") != default_path("x")
