"""A recorded series of any length, gaps and infinities as a few hundred points that draw well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """A series in at most `bins` pieces, each with its middle and spread. All arrays have one entry a piece.

    Attributes:
        x: mean iteration of the piece.
        low: 5 % quantile of the values.
        mid: median of the values.
        high: 95 % quantile of the values.
        broken: iterations at which the value was infinite (not in the pieces).
    """

    x: Array
    low: Array
    mid: Array
    high: Array
    broken: Array

    def __len__(self) -> int:
        return len(self.x)


def summarise(iterations: ArrayLike, values: ArrayLike, *, bins: int = 160) -> Summary:
    """Cut a series into `bins` pieces of equally many measured values. NaN is "not measured" and left out."""
    x, y = np.asarray(iterations, dtype=np.float64), np.asarray(values, dtype=np.float64)
    finite = np.isfinite(y)
    broken = x[np.isinf(y)]
    x, y = x[finite], y[finite]
    if len(x) <= bins:
        return Summary(x, y, y, y, broken)
    pieces = [
        (np.mean(px), *np.quantile(py, [0.05, 0.5, 0.95])) for px, py in zip(_cut(x, bins), _cut(y, bins), strict=True)
    ]
    table = np.array(pieces)
    return Summary(table[:, 0], table[:, 1], table[:, 2], table[:, 3], broken)


def _cut(values: Array, bins: int) -> list[Array]:
    return np.array_split(values, bins)


def draw(axes: Axes, series: Summary, *, colour: str, name: str) -> None:
    """A line through the middles with a band for the spread; infinities as ticks on the lower edge."""
    if len(series) and np.any(series.high > series.low):
        axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.18, lw=0)
    marker = "o" if len(series) < 12 else ""
    axes.plot(series.x, series.mid, color=colour, label=name, marker=marker, ms=3)
    if len(series.broken):
        axes.plot(
            series.broken, np.zeros(len(series.broken)), "|", color=colour, ms=9, transform=axes.get_xaxis_transform()
        )


def wide(values: ArrayLike, *, ratio: float = 30.0) -> float | None:
    """The linear threshold for a symlog axis when a few values dwarf the others, else None.

    A diverging loss would press everything before it flat on a linear axis; `ratio` is the 99.5 % quantile of
    |value| over its median above which it does.
    """
    sizes = np.abs(np.asarray(values, dtype=np.float64))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if len(sizes) == 0:
        return None
    typical, large = np.quantile(sizes, [0.5, 0.995])
    return float(max(typical, 1e-6)) if large > ratio * typical else None
