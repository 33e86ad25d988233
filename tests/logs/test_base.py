"""A series in bounded memory, and the choice among formats."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gandiag.errors import RunDirError
from gandiag.logs import FORMATS, Series, find


def filled(count: int, *, bad: int | None = None) -> Series:
    series = Series()
    for step in range(count):
        series.add(step, math.nan if step == bad else float(step))
    return series


def test_a_short_series_is_kept_as_it_is() -> None:
    """Point by point, in the order of the log."""
    steps, values = filled(5).points()
    assert steps.tolist() == [0, 1, 2, 3, 4]
    assert values.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("count", [10, 11, 23, 40, 97, 1000])
def test_a_long_one_is_thinned_evenly(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the limit, first to last, each point with its own value, as many points of the log behind each."""
    monkeypatch.setattr("gandiag.logs.base.MOST", 10)
    series = filled(count)
    steps, values = series.points()
    assert len(steps) == len(series) <= 10
    assert steps.tolist() == values.tolist()
    assert steps[-1] == count - 1
    assert set((steps[1:] - steps[:-1])[:-1].tolist()) <= {series.stride}


@pytest.mark.parametrize("bad", range(0, 100, 7))
def test_what_is_not_finite_survives_thinning(bad: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly one NaN goes in and one comes out, near where it was."""
    monkeypatch.setattr("gandiag.logs.base.MOST", 10)
    series = filled(100, bad=bad)
    steps, values = series.points()
    (where,) = [step for step, value in zip(steps.tolist(), values.tolist(), strict=True) if math.isnan(value)]
    assert 0 <= where - bad < series.stride


def test_a_cut_forgets_the_later_points() -> None:
    """A restart at a step replaces what came from it on."""
    series = filled(10)
    series.cut(4)
    series.add(4, -1.0)
    assert series.points()[1].tolist() == [0, 1, 2, 3, -1]


def test_of_several_fitting_formats_the_first_in_order_is_read(tmp_path: Path) -> None:
    """StyleGAN's folder holds events and tables, too; its own format has the exact numbers."""
    (tmp_path / "metrics.csv").write_text("step,loss_D\n1,1\n")
    assert find(tmp_path) is FORMATS["csv_table"]
    (tmp_path / "events.out.tfevents.1.host").touch()
    assert find(tmp_path) is FORMATS["tensorboard"]
    (tmp_path / "stats.jsonl").touch()
    assert find(tmp_path) is FORMATS["stats_jsonl"]


def test_a_file_that_is_not_given_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No right to read it is another thing than a file of no known format."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "log").write_text("step,loss_D\n1,1\n")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RunDirError, match="Permission denied"):
        find(tmp_path / "log")


@pytest.mark.parametrize("path", ["missing", "\x00", "a" * 5000])
def test_no_path_is_no_log(tmp_path: Path, path: str) -> None:
    """Whatever the name is, nothing is raised."""
    assert find(tmp_path / path) is None
