"""Three ways to say how far a number can be trusted, each for what it fits.

- `bootstrap`: for means of one value a row (precision, coverage, ...): rows are redrawn, nothing is recomputed.
- `jackknife`: for functions of the whole set (Fréchet distance, Vendi score). Redrawing rows would plant copies in
  the set, which both take for a loss of diversity; leaving rows out does not.
- `prediction`: for nulls: where one more value like those seen will lie.

All are 95 % intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Interval = tuple[float, float]

LEVEL = 0.95


def bootstrap(values: NDArray[np.float64], *, draws: int, rng: np.random.Generator) -> Interval:
    """Percentile interval of the mean of `values` `[n]`, over `draws` redrawings of the rows."""
    n = len(values)
    if values.min() == values.max():
        # Nothing to redraw, yet not certain: of n rows without an exception, a share of 3 / n may be exceptions.
        return float(values[0] - 3 / n), float(values[0] + 3 / n)
    means = [values[rng.integers(0, n, n)].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def jackknife(value: float, leave_out: Callable[[int], float], *, groups: int) -> Interval:
    """Interval around `value` from its values with one group of rows left out, `leave_out(g)` for g = 0 .. groups-1.

    Source: Efron and Tibshirani 1993, chapter 11; Student's t with one degree of freedom less than groups.
    """
    values = np.array([leave_out(group) for group in range(groups)])
    error = np.sqrt((groups - 1) * values.var())
    half = float(student.ppf((1 + LEVEL) / 2, groups - 1) * error)
    return value - half, value + half


def prediction(values: Sequence[float], *, floor: float = 0.0, widen: float = 1.0) -> Interval:
    """Where one more value will lie, given a few.

    Args:
        values: the few, at least two.
        floor: the least that their standard deviation can be.
        widen: how many times larger the new value's standard deviation is than theirs.
    """
    array = np.asarray(values)
    count = len(array)
    spread = max(widen * float(array.std(ddof=1)), floor) * np.sqrt(1 + 1 / count)
    half = float(student.ppf((1 + LEVEL) / 2, count - 1) * spread)
    return float(array.mean() - half), float(array.mean() + half)


def share_error(share: float, rows: int) -> float:
    """Standard error of a share of so many rows, above 0 even where it is 0 or 1 (Agresti and Coull 1998)."""
    smoothed = (share * rows + 2) / (rows + 4)
    return float(np.sqrt(smoothed * (1 - smoothed) / (rows + 4)))
