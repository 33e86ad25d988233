"""What a figure is (`Plot`, `Picture`) and where the figures of a report are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gandiag.registry import Registry
from gandiag.report.view import View


@dataclass(frozen=True)
class Picture:
    """One drawn figure.

    Attributes:
        markup: an `<svg>` or `<img>` element that needs no other file; safe to put in a page unescaped.
        caption: one or two sentences that say how to read it.
    """

    markup: str
    caption: str


@dataclass(frozen=True)
class Plot:
    """A figure of the report: its name, the heading above it, its place on the page, and what draws it."""

    name: str
    title: str
    order: int
    draw: Callable[[View], Picture | None]


PLOTS: Registry[Plot] = Registry("figure", "gandiag.report.plots")

Draw = Callable[[View], Picture | None]


def plot(name: str, *, title: str, order: int) -> Callable[[Draw], Draw]:
    """Register a function from `View` to `Picture` (None: nothing to draw) as the figure `name`."""

    def decorate(draw: Draw) -> Draw:
        PLOTS.add(name, Plot(name, title, order, draw), home=draw.__module__)
        return draw

    return decorate
