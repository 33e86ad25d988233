"""Scalars in other tools' formats, from Python and from the command line."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import write_run
from typer.testing import CliRunner

from gandiag.errors import MissingExtra, RunDirError, UnknownName
from gandiag.rundir import export
from gandiag_cli.app import build, main

LOSSES = np.float32([0.1, np.nan, 1e-30])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", scalars={"loss/d": LOSSES, "time": [0.5, 1.0, 1.5]}, info={"id": "abc"})


def test_parquet_keeps_types_and_says_what_was_not_measured(run: Path, tmp_path: Path) -> None:
    """int64 and float32 stay as they are, NaN becomes null, and the file says which run it is of."""
    import pyarrow as pa
    import pyarrow.parquet

    (path,) = export(run, "parquet", tmp_path / "new" / "out")
    table = pyarrow.parquet.read_table(path)
    assert table.schema.field("iteration").type == pa.int64()
    assert table.schema.field("loss/d").type == pa.float32()
    assert table["loss/d"].to_pylist() == [LOSSES[0], None, LOSSES[2]]
    assert table.schema.metadata[b"run"] == b"abc"


def test_csv_reads_back_exactly(run: Path, tmp_path: Path) -> None:
    """Each number has the digits that give the same float32 again; what was not measured is empty."""
    (path,) = export(run, "csv", tmp_path / "out")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["iteration"] for row in rows] == ["1", "2", "3"]
    assert rows[1]["loss/d"] == ""
    assert [np.float32(rows[i]["loss/d"]) for i in (0, 2)] == [LOSSES[0], LOSSES[2]]


def test_tensorboard_gets_what_was_measured(run: Path, tmp_path: Path) -> None:
    """Each column becomes a tag with a point for each measured iteration."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    export(run, "tensorboard", tmp_path / "out")
    events = EventAccumulator(str(tmp_path / "out")).Reload()
    assert events.Tags()["scalars"] == ["loss/d"]
    assert [(e.step, np.float32(e.value)) for e in events.Scalars("loss/d")] == [(1, LOSSES[0]), (3, LOSSES[2])]


def test_a_missing_tensorboard_says_how_to_get_it(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The optional dependency is named with its pip line, and no empty folder is left behind."""
    for name in ("tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=r"pip install 'gandiag\[tensorboard\]'"):
        export(run, "tensorboard", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_use_is_told(run: Path, tmp_path: Path) -> None:
    """An unknown format, no run, and a place that cannot be written each get their message."""
    with pytest.raises(UnknownName, match="Did you mean 'parquet'"):
        export(run, "parket", tmp_path)
    with pytest.raises(RunDirError, match="no run directory"):
        export(tmp_path / "none", "csv", tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunDirError, match="give another directory"):
        export(run, "csv", tmp_path / "file")


def test_the_command_prints_the_files_it_wrote(run: Path, tmp_path: Path) -> None:
    """`gandiag export RUN_DIR --to csv DIR` exits with 0 and prints a path a line."""
    done = CliRunner().invoke(build(), ["export", str(run), "--to", "csv", str(tmp_path / "out")])
    assert (done.exit_code, done.stdout.split()) == (0, [str(tmp_path / "out" / "scalars.csv")])


def test_the_command_says_no_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that is not there is one line on stderr and exit 2."""
    monkeypatch.setattr(sys, "argv", ["gandiag", "export", str(tmp_path / "none"), "--to", "csv", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("gandiag: there is no run directory")
