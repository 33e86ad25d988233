"""CSV files as loggers, spreadsheets and loops leave them."""

from __future__ import annotations

import math
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from gandiag.errors import RunDirError
from gandiag.logs import FORMATS, Log, find, tabulate

DATA = Path(__file__).parent / "data"


def read(path: Path) -> Log:
    found = find(path)
    assert found is FORMATS["csv_table"]
    return found.read(path)


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def points(log: Log, name: str) -> list[tuple[int, float]]:
    steps, values = log.series[name].points()
    return list(zip(steps.tolist(), values.tolist(), strict=True))


TABLE = [(1, 0.5, 1.5), (2, 0.25, 1.25), (3, 0.125, 1.0)]


@pytest.mark.parametrize(
    "text",
    [
        "step,loss_D,loss_G\n1,0.5,1.5\n2,0.25,1.25\n3,0.125,1.0\n",
        "step;loss_D;loss_G\r\n1;0,5;1,5\r\n2;0,25;1,25\r\n3;0,125;1,0\r\n",
        "step\tloss_D\tloss_G\n1\t0.5\t1.5\n2\t0.25\t1.25\n3\t0.125\t1.0",
        "# step loss_D loss_G\n1 0.5 1.5\n2 0.25 1.25\n3 0.125 1.0\n",
        "step | loss_D | loss_G\n1 | 0.5 | 1.5\n2 | 0.25 | 1.25\n3 | 0.125 | 1.0\n",
        '"step","loss_D","loss_G"\n"1","0.5","1.5"\n"2","0.25","1.25"\n"3","0.125","1.0"\n',
        '\ufeffstep, loss_D, loss_G\n\n1, 0.5, "tensor(1.5000, grad_fn=<MeanBackward0>)"\n2, 0.25, 1.25\n3,0.125,1\n',
        "step,loss_D,loss_G\n1,0.5,1.5\nstep,loss_D,loss_G\n2,0.25,1.25\n3,0.125,1.0\n",
    ],
    ids=["plain", "german", "tabs", "numpy", "bars", "quoted", "bom-and-tensor", "second-header"],
)
def test_every_dialect_reads_the_same(tmp_path: Path, text: str) -> None:
    """The separator is found, and quotes, marks and habits of the writer make no difference."""
    log = read(written(tmp_path / "log.csv", text))
    assert points(log, "loss_D") == [(step, d) for step, d, _ in TABLE]
    assert points(log, "loss_G") == [(step, g) for step, _, g in TABLE]
    assert log.axis == "steps"
    assert log.notes == ()


def test_a_spreadsheet_in_utf_16(tmp_path: Path) -> None:
    """What Excel calls Unicode text."""
    log = read(written(tmp_path / "log.txt", "step\tloss_D\n1\t0.5\n2\t0.25\n".encode("utf-16")))
    assert points(log, "loss_D") == [(1, 0.5), (2, 0.25)]


def test_words_for_what_is_not_finite(tmp_path: Path) -> None:
    """NaN and infinity in each spelling are values; an empty cell and `None` are nothing."""
    cells = ["nan", "NaN", "inf", "-Infinity", "1.#QNAN", "1.#INF", "", "None", "n/a", "0.5"]
    text = "loss_D,loss_G\n" + "".join(f"{cell},1\n" for cell in cells)
    log = read(written(tmp_path / "log.csv", text))
    steps, values = log.series["loss_D"].points()
    assert steps.tolist() == [1, 2, 3, 4, 5, 6, 10]
    assert np.isnan(values[[0, 1, 4]]).all()
    assert values[[2, 3, 5, 6]].tolist() == [math.inf, -math.inf, math.inf, 0.5]


def test_cells_and_rows_that_make_no_sense_are_counted(tmp_path: Path) -> None:
    """A word among numbers, a row that is too long, a torn last row: left out, and said."""
    log = read(written(tmp_path / "log.csv", "step,loss_D,loss_G\n1,high,1\n2,1,1,1\n3,0.5,1\n4,0.2"))
    assert points(log, "loss_D") == [(3, 0.5), (4, 0.2)]
    assert any("1 rows with more cells" in note for note in log.notes)
    assert any("1 cells that are no numbers" in note for note in log.notes)


def test_lightning(tmp_path: Path) -> None:
    """A file of Lightning's own CSVLogger: a row a call, sparse; the test rows at its end are no dead losses."""
    log = read(DATA / "lightning.csv")
    steps, values = log.series["d_loss"].points()
    assert log.axis == "steps"
    assert steps.tolist() == list(range(0, 200, 2))
    assert np.isfinite(values).all()
    folder = tmp_path / "version_0"
    folder.mkdir()
    (folder / "metrics.csv").write_bytes((DATA / "lightning.csv").read_bytes())
    assert points(read(folder), "g_loss") == points(log, "g_loss")


def test_pandas_writes_nan_as_nothing(tmp_path: Path) -> None:
    """Losses that end while the rows go on as before are NaN, and the log says that this was concluded."""
    rows = [f"{step},{0.5 if step < 90 else ''},0.001\n" for step in range(100)]
    log = read(written(tmp_path / "log.csv", "step,loss_D,lr\n" + "".join(rows)))
    steps, values = log.series["loss_D"].points()
    assert np.isnan(values[steps >= 90]).all()
    assert (steps >= 90).sum() == 10
    assert any("read as NaN" in note for note in log.notes)


@pytest.mark.parametrize(
    ("header", "row", "axis", "last"),
    [
        ("epoch,batch,loss_D", lambda i: f"{i // 10},{i % 10},1", "rows", 40),
        ("epoch,batch,loss_D", lambda i: f"{i // 28},{i % 28},1", "rows", 40),
        ("epoch,iteration,loss_D", lambda i: f"{i // 10},{10 * i},1", "iterations", 390),
        ("epoch,loss_D", lambda i: f"{i},1", "epochs", 39),
        ("kimg,loss_D", lambda i: f"{4.096 * i:.3f},1", "images", 159744),
        ("iteration,loss_D", lambda i: f"{i % 30},1", "iterations", 29),
        ("iteration,loss_D", lambda i: f"{i % 4},1", "rows", 40),
        ("wall,loss_D", lambda i: f"{i * 0.3},1", "rows", 40),
        ("step,loss_D", lambda i: f"{-i},1", "rows", 40),
    ],
    ids=[
        "batch-of-epoch",
        "second-epoch-cut-short",
        "finest",
        "epochs",
        "kimg",
        "resumed",
        "restarts",
        "none",
        "negative",
    ],
)
def test_the_axis(tmp_path: Path, header: str, row: object, axis: str, last: int) -> None:
    """The finest column that counts on through the whole file; where none does, the rows count."""
    assert callable(row)
    log = read(written(tmp_path / "log.csv", header + "\n" + "".join(f"{row(i)}\n" for i in range(40))))
    assert log.axis == axis
    assert max(log.series["loss_D"].points()[0]) == last
    assert any("the rows are counted" in note for note in log.notes) == (axis == "rows")


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("", "empty file"),
        ("1,2\n3,4\n", "must name the columns"),
        ("step,loss_D\n", "without a row"),
        ("step,loss_D\n1," + "9" * (1 << 20) + "\n", "longer than"),
    ],
    ids=["empty", "no-header", "no-row", "endless-line"],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, text: str, cure: str) -> None:
    """One message that says what was found."""
    with pytest.raises(RunDirError, match=cure):
        read(written(tmp_path / "log.csv", text))


def test_of_several_files_one_must_be_named(tmp_path: Path) -> None:
    """Two tables in a folder may be two trainings."""
    for name in ("a.csv", "b.csv"):
        written(tmp_path / name, "step,loss_D\n1,1\n")
    with pytest.raises(RunDirError, match="give one of them"):
        read(tmp_path)


@pytest.mark.parametrize(
    "text", ["print('hello')\nx = 1\n", "A text, with commas,\nand no numbers.\n", "\x00\x01,\x02\n"]
)
def test_other_files_are_not_taken_for_tables(tmp_path: Path, text: str) -> None:
    """Without the suffix a table must look like one."""
    assert find(written(tmp_path / "file.txt", text)) is None


def test_no_bytes_raise_anything_but_rundirerror(tmp_path: Path) -> None:
    """Damage anywhere: quotes that never close, strange separators, undecodable bytes, NULs."""
    rng = random.Random(0)
    good = b'\xef\xbb\xbfstep,loss_D,"loss, G"\r\n' + b"".join(b"%d,0.5,nan\r\n" % step for step in range(20))
    path = tmp_path / "log.csv"
    read_well = 0
    for _ in range(300):
        damaged = bytearray(good[: rng.randint(1, len(good))])
        for _ in range(rng.randint(0, 8)):
            damaged[rng.randrange(len(damaged))] = rng.choice(b'",;\t\n\r|#\x00\xff 1an')
        path.write_bytes(damaged)
        try:
            form = find(path)
            read_well += form is not None and tabulate(form.read(path)).last > 0
        except RunDirError:
            continue
    assert read_well > 100


def test_a_long_file_takes_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit neighbours are merged: four times the rows take no more memory, and the one NaN survives."""
    monkeypatch.setattr("gandiag.logs.base.MOST", 500)
    peaks = []
    for count in (5_000, 20_000):
        path = tmp_path / f"{count}.csv"
        with path.open("w") as file:
            file.write("step,loss_D,a,b,c\n")
            file.writelines(f"{i},{'nan' if i == 2_001 else 0.5},1,2,3\n" for i in range(count))
        tracemalloc.start()
        log = read(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    steps, values = log.series["loss_D"].points()
    assert len(steps) <= 500
    assert np.isnan(values).sum() == 1
    assert abs(int(steps[np.isnan(values)][0]) - 2_001) < log.series["loss_D"].stride
    assert steps[-1] == 19_999
    assert peaks[1] < 1.2 * peaks[0]
