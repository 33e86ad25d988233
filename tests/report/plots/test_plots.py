"""Every figure, on every kind of series: none fails, warns, or draws what was not measured."""

from __future__ import annotations

import functools
import sys

import numpy as np
import pytest
from helpers.diagnoses import ITERATIONS, STEPS, collapsed, measure, mode, scalars, snapshot, view

from gandiag.report.plots._canvas import PALETTE
from gandiag.report.plots.base import PLOTS, Picture, Plot
from gandiag.report.plots.embedding import project
from gandiag.report.plots.samples import grid
from gandiag.report.view import View

ALL = pytest.mark.parametrize("plot", list(PLOTS), ids=lambda plot: plot.name)


def broken(value: float) -> View:
    """A run whose every number is `value`."""
    samples = snapshot(thumbs=False)
    samples.fake[:] = value
    table = {"count_real": 2, "count_captured": 0, "modes": [mode(0, "missing", real_share=value), mode(1)]}
    series = {"coverage": [measure(value, value)] * len(STEPS)}
    return view(collapsed(modes=table), scalars=scalars(fill=value), snapshot=samples, series=series)


VIEWS = {
    "nan": broken(np.nan),
    "inf": broken(np.inf),
    "zero": broken(0.0),
    "huge": broken(3e38),
    "three iterations": view(
        collapsed(iterations=3, findings=[]),
        scalars=scalars(3),
        steps=(1,),
        captured=[0],
        series={"coverage": [measure(0.0)]},
    ),
    "one row": view(scalars=scalars(1), snapshot=snapshot(rows=1)),
    "64 dimensions": view(snapshot=snapshot(d=64, rows=1500)),
    "1 dimension": view(snapshot=snapshot(d=1)),
    "1000 modes": view(collapsed(modes={"count_real": 1000, "modes": [mode(key) for key in range(1000)]})),
    "steps out of order": view(
        collapsed(findings=[{**collapsed()["findings"][0], "first_step": None, "last_step": 5}])
    ),
}


@functools.cache
def whole(name: str) -> Picture:
    """The figure of a well-recorded run, drawn once for all tests."""
    picture = PLOTS[name].draw(view())
    assert picture is not None
    return picture


@ALL
def test_it_draws_a_whole_run(plot: Plot) -> None:
    """Each figure of a well-recorded run is one element with a caption."""
    picture = whole(plot.name)
    assert picture.markup.startswith(("<svg", "<div"))
    assert picture.caption.endswith(".")


@ALL
@pytest.mark.parametrize("kind", list(VIEWS))
def test_it_survives(plot: Plot, kind: str) -> None:
    """NaN, infinities, constants, extremes and tiny runs are drawn or left out; warnings would be errors here."""
    plot.draw(VIEWS[kind])


@ALL
def test_it_leaves_out_what_is_not_there(plot: Plot) -> None:
    """Without data there is no figure, rather than empty axes."""
    assert plot.draw(View(diagnosis=collapsed(modes=None))) is None


@ALL
def test_it_is_the_same_each_time(plot: Plot) -> None:
    """The same run gives the same bytes: a report can be compared with an older one."""
    assert plot.draw(view()) == whole(plot.name)


@ALL
def test_figures_follow_the_theme(plot: Plot) -> None:
    """No colour of the palette is left in the markup as such: all became variables of the page."""
    assert [role for role, colour in PALETTE.items() if colour in whole(plot.name).markup] == []


@ALL
def test_pyplot_is_never_loaded(plot: Plot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing must not touch the figures, backend or settings of the user's own session."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # an import of it would now fail
    assert plot.draw(view(scalars=scalars(20), snapshot=snapshot(rows=5))) is not None


def test_the_plane_is_chosen_by_real_samples_alone() -> None:
    """Fakes collapsed to one far point must not turn the axes towards themselves."""
    rng = np.random.default_rng(0)
    real = rng.standard_normal((200, 5)) * [10, 5, 1, 1, 1]
    far = np.tile([0.0, 0, 0, 0, 1e6], (50, 1))
    alone, _, _ = project(real=real, fake=real)
    beside, fake, how = project(real=real, fake=far)
    assert np.array_equal(alone, beside)
    assert np.ptp(fake) < 1e6
    assert "PCA of the real" in how


def test_infinite_losses_are_marked_not_hidden() -> None:
    """A loss that became infinite leaves marks on the axis; the finite part is drawn as ever."""
    columns = scalars()
    columns["loss/d"][ITERATIONS // 2 :] = np.inf
    picture = PLOTS["losses"].draw(view(scalars=columns))
    assert picture is not None
    assert picture.markup.count("<use") > whole("losses").markup.count("<use")


def test_a_grid_of_images() -> None:
    """Twenty grey images of 8 x 8 become a colour sheet of 8 by 3 enlarged tiles, grey where no image is."""
    sheet = grid(np.zeros((20, 8, 8, 1), dtype=np.uint8))
    assert sheet.shape == (3 * 66 - 2, 8 * 66 - 2, 3)
    assert (sheet[-1, -1] == 128).all()
    assert (sheet[0, 0] == 0).all()
