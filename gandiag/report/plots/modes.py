"""Each mode's share of the real data beside its share of the fakes, coloured by its state."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from gandiag.report import words
from gandiag.report.plots._canvas import PALETTE, canvas, label, svg
from gandiag.report.plots.base import Picture, plot
from gandiag.report.text import number, percent
from gandiag.report.view import View

#: A bar needs this much height to be read; more modes than fit on a screen are listed by how bad they are.
MAX_BARS = 32
BAR_INCHES = 0.24


@plot("modes", title="Modes", order=10)
def draw(view: View) -> Picture | None:
    """A bar for the fakes in the colour of the state, a tick where the real data are."""
    modes = view.diagnosis.get("modes") or {}
    shown, left_out = words.worst_modes(modes, limit=MAX_BARS)
    if not shown:
        return None
    states = [state for state in words.MODE_STATES if any(mode.get("state") == state for mode in shown)]
    rows = np.arange(len(shown))[::-1]
    real, fake = _shares(shown, "real_share"), _shares(shown, "fake_share")
    colours = [PALETTE.get(str(mode.get("state")), PALETTE["muted"]) for mode in shown]
    with canvas(9.2, BAR_INCHES * len(shown) + 1.0) as figure:
        axes = figure.add_subplot()
        axes.barh(rows, 100 * fake, height=0.62, color=colours)
        axes.vlines(100 * real, rows - 0.42, rows + 0.42, color=PALETTE["real"], lw=2.2)
        edge = 100 * max(real.max(), fake.max(), 1e-9)
        for row, mode in zip(rows, shown, strict=True):
            if mode.get("state") == "missing":  # no bar to see: the row itself says it
                axes.axhspan(row - 0.5, row + 0.5, color=PALETTE["missing"], alpha=0.09, lw=0)
        for row, mode, reach in zip(rows, shown, 100 * np.maximum(real, fake), strict=True):
            if mode.get("state") not in ("ok", None):
                axes.text(reach + 0.012 * edge, row, _note(mode), va="center", fontsize=8.5, color=PALETTE["ink"])
        axes.set_yticks(rows, [label(words.mode_name(mode), limit=18) for mode in shown])
        axes.set_xlim(0, 1.22 * edge)
        axes.set_ylim(-0.7, len(shown) - 0.3)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("share of all samples, %")
        handles: list[Artist] = [Patch(color=PALETTE[state], label=f"fake, {state}") for state in states]
        handles.append(Line2D([], [], color=PALETTE["real"], lw=2.2, label="real"))
        figure.legend(handles=handles, loc="outside upper left", ncols=6)
        markup = svg(figure, title="Share of each mode in real and generated samples")
    caption = "Bars: the generator's share of a mode; the blue tick: the data's. A bar that ends at its tick is right."
    if left_out:
        caption += f" The {left_out} modes nearest to right are left out."
    return Picture(markup, caption)


def _shares(modes: list[words.Json], name: str) -> NDArray[np.float64]:
    """One share of every mode; what was not measured is drawn as none."""
    shares = np.array([number(mode.get(name)) for mode in modes])
    return np.where(np.isfinite(shares), shares, 0.0)


def _note(mode: words.Json) -> str:
    spread = number(mode.get("spread_ratio"))
    if mode.get("state") == "shrunken" and np.isfinite(spread):
        return f"shrunken: {percent(spread)} of the real spread"
    fake, real = percent(number(mode.get("fake_share"))), percent(number(mode.get("real_share")))
    return f"{label(mode.get('state'))}: {fake} of {real}"
