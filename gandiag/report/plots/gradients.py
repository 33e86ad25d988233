"""Gradient norms of both nets, in total and for each layer, on a log axis."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from gandiag.report import words
from gandiag.report.plots import _series
from gandiag.report.plots._canvas import PALETTE, canvas, iterations_axis, label, mark_findings, plain_numbers, svg
from gandiag.report.plots.base import Picture, plot
from gandiag.report.view import View

#: More curves than this in one panel are a grey mat: the layers with the widest range are the telling ones.
MAX_LAYERS = 24


@plot("gradients", title="Gradient norms", order=40)
def draw(view: View) -> Picture | None:
    """One panel a net: the total as a thick line, its layers as thin ones."""
    nets = [(net, name, role) for net, name, role in _NETS if _columns(view, net)]
    if not nets:
        return None
    findings = [f for f in words.ranked_findings(view.diagnosis) if str(f.get("code")).startswith(("GD2", "GD3"))]
    with canvas(9.2, 2.9) as figure:
        panels = list(np.atleast_1d(figure.subplots(1, len(nets), sharey=True)))
        for axes, (net, name, role) in zip(panels, nets, strict=True):
            mark_findings(axes, findings, last=view.iterations)
            iterations_axis(axes, view.iterations)
            axes.locator_params(axis="x", nbins=5)
            _net(axes, view, net, PALETTE[role])
            axes.set_title(name)
            axes.set_xlabel("iteration")
        _at_least_two_decades(panels[0])
        panels[0].set_ylabel("L2 norm, log scale")
        markup = svg(figure, title="Gradient norms over the run")
    vanished = _zeros(view)
    caption = "Thick: all weights of a net; thin: single layers. Calm training stays within a factor of ten or so."
    if vanished:
        caption += f" Exactly zero at times, so not on a log axis: {', '.join(vanished)}."
    return Picture(markup, caption)


_NETS = (("d", "Discriminator", "disc"), ("g", "Generator", "gen"))


def _columns(view: View, net: str) -> list[str]:
    return [name for name in view.scalars if name.startswith(f"grad/{net}/") and view.has(name)]


def _net(axes: Axes, view: View, net: str, colour: str) -> None:
    layers = [name for name in _columns(view, net) if not name.endswith("/total")]
    drawn = 0
    for name in sorted(layers, key=lambda name: -_range(view, name))[:MAX_LAYERS]:
        x, mid = _positive(view, name)
        if len(x):
            axes.plot(x, mid, color=colour, lw=0.7, alpha=0.35)
            drawn += 1
    x, mid = _positive(view, f"grad/{net}/total")
    if len(x):
        axes.plot(x, mid, color=colour, lw=2)
        drawn += 1
    if drawn:
        axes.set_yscale("log")
        plain_numbers(axes)


def _at_least_two_decades(axes: Axes) -> None:
    """Noise that fills the whole height looks like alarm: calm gradients should look calm."""
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log" and high < 100 * low:
        middle = np.sqrt(low) * np.sqrt(high)
        axes.set_ylim(middle / 10, middle * 10)


def _positive(view: View, name: str) -> tuple[_series.Array, _series.Array]:
    series = _series.summarise(*view.column(name), bins=160)
    return series.x[series.mid > 0], series.mid[series.mid > 0]


def _range(view: View, name: str) -> float:
    """How many decades a layer's norm runs through."""
    _, mid = _positive(view, name)
    return float(np.log10(mid.max()) - np.log10(mid.min())) if len(mid) else 0.0


def _zeros(view: View) -> list[str]:
    names = [name for net, *_ in _NETS for name in _columns(view, net) if np.any(view.column(name)[1] == 0)]
    shown = [label(name.removeprefix("grad/")) for name in names[:4]]
    return [*shown, f"{len(names) - 4} more"] if len(names) > 4 else shown
