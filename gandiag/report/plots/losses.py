"""Losses of both nets, and what D thinks of real and fake samples, over the run."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from gandiag.report import words
from gandiag.report.plots import _series
from gandiag.report.plots._canvas import PALETTE, canvas, iterations_axis, mark_findings, plain_numbers, svg
from gandiag.report.plots.base import Picture, plot
from gandiag.report.view import View


@plot("losses", title="Losses and logits", order=30)
def draw(view: View) -> Picture | None:
    """Losses above, D's logits on real and fake below; the steps of findings shaded."""
    losses = [("loss/d", "D's loss", "disc"), ("loss/g", "G's loss", "gen")]
    logits = [("d/logits/real", "real", "real"), ("d/logits/fake", "fake", "fake")]
    has_losses = any(view.has(name) for name, *_ in losses)
    has_logits = any(view.has(f"{name}/mean") for name, *_ in logits)
    if not (has_losses or has_logits):
        return None
    rows = has_losses + has_logits
    findings = words.ranked_findings(view.diagnosis)
    with canvas(9.2, 2.35 * rows + 0.3) as figure:
        panels = list(np.atleast_1d(figure.subplots(rows, 1, sharex=True)))
        for index, axes in enumerate(panels):
            mark_findings(axes, findings, last=view.iterations, codes=index == 0)
            iterations_axis(axes, view.iterations)
        if has_losses:
            _losses(panels[0], view, losses)
        if has_logits:
            _logits(panels[-1], view, logits)
        panels[-1].set_xlabel("iteration")
        markup = svg(figure, title="Losses and discriminator logits over the run")
    caption = "Shaded: the steps of a finding. "
    if has_logits:
        caption += (
            "Logits above 0 are judged real; two bands that drift apart mean that D tells real from fake with ease, "
            "and G's gradient fades. "
        )
    return Picture(markup, caption + "Losses alone decide nothing: their level depends on the kind of loss.")


def _losses(axes: Axes, view: View, columns: list[tuple[str, str, str]]) -> None:
    everything = []
    for column, name, role in columns:
        if view.has(column):
            series = _series.summarise(*view.column(column))
            _series.draw(axes, series, colour=PALETTE[role], name=name)
            everything.append(series.mid)
    _scale(axes, everything)
    axes.set_title("Losses")
    axes.legend(loc="upper right", ncols=2)


def _logits(axes: Axes, view: View, columns: list[tuple[str, str, str]]) -> None:
    everything = []
    axes.axhline(0, color=PALETTE["muted"], lw=0.8, ls=(0, (4, 3)))
    for column, name, role in columns:
        if not view.has(f"{column}/mean"):
            continue
        mean = _series.summarise(*view.column(f"{column}/mean"))
        if view.has(f"{column}/q05") and view.has(f"{column}/q95"):
            low = _series.summarise(*view.column(f"{column}/q05"))
            high = _series.summarise(*view.column(f"{column}/q95"))
            if len(low) == len(high):
                axes.fill_between(low.x, low.mid, high.mid, color=PALETTE[role], alpha=0.15, lw=0)
                everything += [low.mid, high.mid]
        axes.plot(mean.x, mean.mid, color=PALETTE[role], label=f"{name}, mean and 5–95 % of the batch")
        everything.append(mean.mid)
    _scale(axes, everything)
    axes.set_title("D's logits")
    axes.legend(loc="upper right", ncols=2)


def _scale(axes: Axes, curves: list[np.ndarray]) -> None:
    """Room above for the legend; a symlog axis where one stretch dwarfs the others."""
    values = np.concatenate(curves) if curves else np.zeros(0)
    threshold = _series.wide(values)
    if threshold is not None:
        axes.set_yscale("symlog", linthresh=threshold)
        plain_numbers(axes)
    else:
        axes.margins(y=0.18)
