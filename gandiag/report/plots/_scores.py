"""The figures of scores: metrics against their nulls, modes, samples in a plane; for a page, and as PNG files.

Each is painted onto a figure that somebody else has made, so that one painting serves a page and a picture of all.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib.image
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from gandiag.metrics import METRICS
from gandiag.report import words
from gandiag.report.plots._canvas import PALETTE, canvas, label, svg
from gandiag.report.plots.base import Picture
from gandiag.report.plots.embedding import finite, frame, project, scatter, some
from gandiag.report.plots.modes import BAR_INCHES, MAX_BARS
from gandiag.report.plots.samples import COLUMNS, ROWS, grid
from gandiag.report.text import number, percent

if TYPE_CHECKING:
    from gandiag.score.result import Shown

Json = Mapping[str, Any]

WIDTH = 9.2
DPI = 150
ROW_INCHES = 0.36
LINE = 88
"""Letters of the title on a line."""
PAPER = "#ffffff"

UNBOUNDED_EDGE = 0.28
"""Room around the values of an axis that has no natural ends, over the length between them."""


@dataclass(frozen=True)
class Drawing:
    """A figure before it is drawn.

    Attributes:
        name: of its file.
        title: the heading above it.
        height: in inches, at a width of 9.2.
        paint: draws it onto a figure and answers with a caption.
    """

    name: str
    title: str
    height: float
    paint: Callable[[FigureBase], str]

    def picture(self) -> Picture:
        """For a page."""
        with canvas(WIDTH, self.height) as figure:
            caption = self.paint(figure)
            return Picture(svg(figure, title=self.title), caption)

    def png(self) -> bytes:
        """For a file."""
        with canvas(WIDTH, self.height) as figure:
            self.paint(figure)
            return _png(figure)


def drawings(data: Json, *, real: Shown, fake: Shown) -> list[Drawing]:
    """The figures that there is something to draw in.

    Args:
        data: `Scores.to_json()`.
        real: what to show of the data.
        fake: what to show of the generated samples.
    """
    metrics, modes = data.get("metrics") or {}, data.get("modes") or {}
    names = [name for name in metrics if np.isfinite(number(metrics[name].get("value")))]
    shown, _ = words.worst_modes(modes, limit=MAX_BARS)
    found = []
    if names:
        shares, others = _split(names)
        rows = max(len(shares), 1.6 * len(others))
        found.append(
            Drawing(
                "metrics", "Metrics against real data", ROW_INCHES * rows + 0.9, lambda f: _metrics(f, metrics, names)
            )
        )
    if shown:
        found.append(Drawing("modes", "Modes", BAR_INCHES * len(shown) + 1.0, lambda f: _modes(f, modes)))
    if len(finite(real.rows)) > 1:
        found.append(Drawing("embedding", "Real and generated samples", 4.5, lambda f: _embedding(f, real, fake)))
    return found


def sample_drawing(real: NDArray[np.uint8], fake: NDArray[np.uint8]) -> Drawing:
    """Real and generated pictures `[k, h, w, c]` side by side."""
    sheets = grid(real), grid(fake)
    height = max(sheet.shape[0] / sheet.shape[1] for sheet in sheets) * WIDTH / 2 + 0.3
    return Drawing("samples", "Samples", height, lambda figure: _samples(figure, *sheets))


def overview(parts: Sequence[Drawing], *, title: str) -> bytes:
    """All figures below each other as one PNG, each under its heading."""
    lines = textwrap.wrap(label(title, limit=4 * LINE), LINE)
    heights = [0.25 + 0.22 * len(lines)]
    for part in parts:
        heights += [0.4, part.height]  # headings in places of their own: legends lie where a figure's title would
    with canvas(WIDTH, sum(heights)) as figure:
        places = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        places[0].text(0.012, 0.5, "\n".join(lines), fontsize=12, fontweight="bold", va="center")
        for heading, place, part in zip(places[1::2], places[2::2], parts, strict=True):
            heading.text(0.012, 0.3, part.title, fontsize=11, color=PALETTE["muted"])
            part.paint(place)
        return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor=PAPER)
    return buffer.getvalue()


def _split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Metrics that are shares, and so fit on one axis, and the others."""
    shares = [name for name in names if name in METRICS and METRICS[name].hi == 1.0]
    return shares, [name for name in names if name not in shares]


def _metrics(figure: FigureBase, metrics: Json, names: Sequence[str]) -> str:
    shares, others = _split(names)
    rows = max(len(others), 1)
    places = figure.add_gridspec(
        rows, 2, width_ratios=[1.35, 1] if shares and others else [1, 1e-6][:: 1 if shares else -1]
    )
    if shares:
        axes = figure.add_subplot(places[:, 0])
        for height, name in enumerate(reversed(shares)):
            _interval(axes, metrics[name], height)
        axes.set_yticks(range(len(shares)), [label(name) for name in reversed(shares)])
        axes.set_ylim(-0.6, len(shares) - 0.4)
        axes.set_xlim(-0.02, 1.02)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("share")
    for row, name in enumerate(others):
        axes = figure.add_subplot(places[row, 1])
        _interval(axes, metrics[name], 0)
        axes.set_yticks([0], [label(name)])
        axes.set_ylim(-0.6, 0.6)
        _limits(axes, metrics[name])
        axes.grid(axis="y", visible=False)
        axes.locator_params(axis="x", nbins=5)
    handles: list[Artist] = [
        Line2D([], [], color=PALETTE["fake"], marker="o", ms=5, lw=1.8, label="these samples"),
        Patch(color=PALETTE["null"], alpha=0.45, label="what real data would read"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return (
        "Grey: what real data read against held-out real data of the same size. Orange: the generated samples, with "
        "their interval. An orange dot outside the grey is a difference from the data."
    )


def _interval(axes: Axes, measure: Json, height: float) -> None:
    """One metric as a row: the null as a bar, the value as a dot on the line of its interval."""
    value, null = number(measure.get("value")), number(measure.get("null"))
    low, high = number(measure.get("low"), value), number(measure.get("high"), value)
    null_low, null_high = number(measure.get("null_low"), null), number(measure.get("null_high"), null)
    if np.isfinite([null_low, null_high]).all():
        axes.barh(height, null_high - null_low, left=null_low, height=0.66, color=PALETTE["null"], alpha=0.45)
        axes.plot([null, null], [height - 0.33, height + 0.33], color=PALETTE["null"], lw=1.6)
    axes.plot([low, high], [height, height], color=PALETTE["fake"], lw=1.8)
    axes.plot([value], [height], "o", color=PALETTE["fake"], ms=5)


def _limits(axes: Axes, measure: Json) -> None:
    """From what is shown, so that a value far from its null does not hide how wide either is without saying so."""
    ends = np.array([number(measure.get(name)) for name in ("value", "low", "high", "null_low", "null_high")])
    ends = ends[np.isfinite(ends)]
    room = UNBOUNDED_EDGE * max(ends.max() - ends.min(), 1e-9)
    floor = 0.0 if ends.min() >= 0 else -np.inf
    axes.set_xlim(max(ends.min() - room, floor), ends.max() + room)


def _modes(figure: FigureBase, modes: Json) -> str:
    shown, left_out = words.worst_modes(modes, limit=MAX_BARS)
    states = [state for state in words.MODE_STATES if any(mode.get("state") == state for mode in shown)]
    rows = np.arange(len(shown))[::-1]
    real, fake = _column(shown, "real_share"), _column(shown, "fake_share")
    axes = figure.add_subplot()
    axes.barh(
        rows, 100 * fake, height=0.62, color=[PALETTE.get(str(mode.get("state")), PALETTE["muted"]) for mode in shown]
    )
    reach = np.maximum(real, fake)
    for row, mode in zip(rows, shown, strict=True):
        low, high = number(mode.get("fake_low")), number(mode.get("fake_high"))
        if np.isfinite([low, high]).all():
            axes.plot([100 * low, 100 * high], [row, row], color=PALETTE["ink"], lw=1.0, alpha=0.7)
            reach[len(shown) - 1 - row] = max(reach[len(shown) - 1 - row], high)
        if mode.get("state") == "missing":  # no bar to see: the row itself says it
            axes.axhspan(row - 0.5, row + 0.5, color=PALETTE["missing"], alpha=0.09, lw=0)
    axes.vlines(100 * real, rows - 0.42, rows + 0.42, color=PALETTE["real"], lw=2.2)
    edge = 100 * max(float(reach.max()), 1e-9)
    for row, mode, end in zip(rows, shown, 100 * reach, strict=True):
        if mode.get("state") not in ("ok", None):
            axes.text(end + 0.012 * edge, row, _note(mode), va="center", fontsize=8.5, color=PALETTE["ink"])
    axes.set_yticks(rows, [label(words.mode_name(mode), limit=18) for mode in shown])
    axes.set_xlim(0, 1.22 * edge)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("share of all samples, %")
    handles: list[Artist] = [Patch(color=PALETTE[state], label=f"fake, {state}") for state in states]
    handles.append(Line2D([], [], color=PALETTE["real"], lw=2.2, label="real"))
    figure.legend(handles=handles, loc="outside upper left", ncols=6)
    caption = (
        "Bars: the generator's share of a mode, with its 95 % interval; the blue tick: the data's. A bar that ends at "
        "its tick is right."
    )
    return caption + (f" The {left_out} modes nearest to right are left out." if left_out else "")


def _note(mode: Json) -> str:
    state, spread = str(mode.get("state")), number(mode.get("spread_ratio"))
    if state == "shrunken" and np.isfinite(spread):
        return f"shrunken: {percent(spread)} of the real spread"
    return f"{label(state)}: {percent(number(mode.get('fake_share')))} of {percent(number(mode.get('real_share')))}"


def _column(modes: Sequence[Json], name: str) -> NDArray[np.float64]:
    values = np.array([number(mode.get(name)) for mode in modes])
    return np.where(np.isfinite(values), values, 0.0)


def _embedding(figure: FigureBase, real: Shown, fake: Shown) -> str:
    ours, theirs, how = project(real=finite(real.rows), fake=finite(fake.rows))
    low, high = frame(real=ours, fake=theirs)
    outside = float(np.mean(np.any((theirs < low) | (theirs > high), axis=1))) if len(theirs) else 0.0
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    scatter(left, some(ours), "real")
    left.set_title(f"Real ({real.total:,})")
    scatter(right, some(ours), "null")
    scatter(right, some(theirs), "fake")
    right.set_title(f"Generated ({fake.total:,}), real in grey")
    for axes in (left, right):
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        if real.rows.shape[1] == 2:
            axes.set_aspect("equal", adjustable="box")
        else:
            axes.tick_params(labelbottom=False, labelleft=False)  # units of a projection mean nothing
    caption = f"Some of the samples; {how}. Grey places without orange are not generated."
    return caption + (f" {percent(outside)} of the generated samples lie outside the frame." if outside else "")


def _samples(figure: FigureBase, real: NDArray[np.uint8], fake: NDArray[np.uint8]) -> str:
    for axes, sheet, title in zip(figure.subplots(1, 2), (real, fake), ("Real", "Generated"), strict=True):
        axes.imshow(sheet, interpolation="nearest")
        axes.set_title(title)
        axes.axis("off")
    return f"Up to {COLUMNS * ROWS} of each, drawn at random."


def strip(pictures: NDArray[np.uint8]) -> bytes:
    """A few pictures `[k, h, w, c]` in a row, as PNG."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, grid(pictures), format="png")
    return buffer.getvalue()
