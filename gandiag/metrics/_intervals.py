"""Three ways to say how far a number can be trusted, each for what it fits.

- `bootstrap`: for means of one value a row (precision, coverage, ...): rows are redrawn, nothing is recomputed.
- `jackknife`: for functions of the whole set (Fréchet distance, Vendi score). Redrawing rows would plant copies in
  the set, which both take for a loss of diversity; leaving rows out does not.
- `Null`: where one more value like those seen will lie, and how odd another one is.

All are 95 % intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Null:
    """What a few values say of where one more like them will lie: a normal value of unknown mean and variance.

    Attributes:
        mean: of the values.
        spread: standard deviation of the difference between their mean and one more.
        count: how many values there are.
    """

    mean: float
    spread: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float], *, floor: float = 0.0, widen: float = 1.0) -> Null:
        """From at least two values.

        Args:
            values: the few.
            floor: the least that their standard deviation can be.
            widen: how many times larger the new value's standard deviation is than theirs.
        """
        array = np.asarray(values)
        unit = float(np.abs(array).max()) or 1.0  # squares of huge values would leave the dtype
        spread = max(widen * unit * float((array / unit).std(ddof=1)), floor) * np.sqrt(1 + 1 / len(array))
        return cls(float(array.mean()), float(spread), len(array))

    def interval(self) -> Interval:
        """Where one more value lies in 95 % of cases."""
        half = float(student.ppf((1 + LEVEL) / 2, self.count - 1) * self.spread)
        return self.mean - half, self.mean + half

    def p_value(self, value: float) -> float:
        """How often one more value would be at least as far from the mean as this one, to either side."""
        if self.spread == 0:
            return float(value == self.mean)
        return float(2 * student.sf(abs(value - self.mean) / self.spread, self.count - 1))


def share_error(share: float, rows: int) -> float:
    """Standard error of a share of so many rows, above 0 even where it is 0 or 1 (Agresti and Coull 1998)."""
    smoothed = (share * rows + 2) / (rows + 4)
    return float(np.sqrt(smoothed * (1 - smoothed) / (rows + 4)))
