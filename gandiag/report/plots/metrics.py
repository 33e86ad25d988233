"""Every metric over the snapshots, beside the band that real data reach against themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from gandiag.report import words
from gandiag.report.plots._canvas import PALETTE, canvas, iterations_axis, label, mark_findings, plain_numbers, svg
from gandiag.report.plots.base import Picture, plot
from gandiag.report.text import number
from gandiag.report.view import View

COLUMNS = 3


@plot("metrics", title="Metrics against real data", order=25)
def draw(view: View) -> Picture | None:
    """Small panels: value with its interval, and the null as a grey band."""
    names = [name for name, series in view.series.items() if np.isfinite(_field(series, "value")).any()]
    counts = bool(view.captured) and bool((view.diagnosis.get("modes") or {}).get("count_real"))
    total = len(names) + counts
    if not total or not view.steps:
        return None
    rows = -(-total // COLUMNS)
    findings = [f for f in words.ranked_findings(view.diagnosis) if str(f.get("code")).startswith("GD1")][:1]
    with canvas(9.2, 2.05 * rows + 0.2) as figure:
        grid = np.atleast_1d(figure.subplots(rows, min(COLUMNS, total), sharex=True)).ravel()
        for axes in grid[total:]:
            axes.set_visible(False)
        for axes in grid[:total]:
            mark_findings(axes, findings, last=view.iterations)
            iterations_axis(axes, view.iterations)
            axes.locator_params(axis="x", nbins=4)
        if counts:
            _captured(grid[0], view)
        for axes, name in zip(grid[counts:], names, strict=False):
            _metric(axes, view.steps, view.series[name])
            axes.set_title(label(name))
        markup = svg(figure, title="Metrics over the run, each with what real data reach")
    caption = (
        "Grey: what real data read against held-out real data of the same size, so the best that can be reached. "
        "Orange: the generator, with its interval at each snapshot."
    )
    return Picture(markup, caption)


def _captured(axes: Axes, view: View) -> None:
    total = view.diagnosis["modes"]["count_real"]
    axes.axhline(total, color=PALETTE["null"], lw=2)
    axes.plot(view.steps, view.captured, color=PALETTE["fake"], marker="o", ms=3)
    axes.set_ylim(0, 1.12 * max(total, *view.captured))
    axes.locator_params(axis="y", integer=True, nbins=5)
    axes.set_title(f"modes captured, of {total}")


def _metric(axes: Axes, steps: Sequence[int], series: Sequence[words.Json]) -> None:
    x = np.asarray(steps, dtype=np.float64)
    value, null = _field(series, "value"), _field(series, "null")
    low, high = _or(_field(series, "low"), value), _or(_field(series, "high"), value)
    null_low, null_high = _or(_field(series, "null_low"), null), _or(_field(series, "null_high"), null)
    if np.isfinite(null).any():
        # The band is drawn edge to edge: the null is a property of the data, not of the step.
        axes.axhspan(float(np.nanmin(null_low)), float(np.nanmax(null_high)), color=PALETTE["null"], alpha=0.28, lw=0)
        axes.axhline(float(np.nanmedian(null)), color=PALETTE["null"], lw=1.2)
    axes.fill_between(x, low, high, color=PALETTE["fake"], alpha=0.2, lw=0)
    axes.plot(x, value, color=PALETTE["fake"], marker="o", ms=3)
    shown = np.concatenate([value, low, high, null_low, null_high])
    shown = shown[np.isfinite(shown)]
    top, middle = shown.max(), np.median(shown)
    if shown.min() >= 0 and middle > 0 and top > 50 * middle:
        axes.set_yscale("symlog", linthresh=middle)
        plain_numbers(axes)
    elif shown.min() >= 0 and top > 0:
        axes.set_ylim(0, 1.1 * top)


def _field(series: Sequence[words.Json], name: str) -> NDArray[np.float64]:
    values = np.array([number(measure.get(name)) for measure in series], dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _or(values: NDArray[np.float64], instead: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(values), values, instead)
