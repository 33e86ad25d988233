"""What the rules ask of a series: where it changed, how far it left its own past, how often it turned.

Absolute thresholds on gradients or losses do not carry over between losses, loss scales and networks, so
all of these compare a series with itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]


def last_streak(mask: NDArray[np.bool_]) -> int | None:
    """Index where the final unbroken run of True begins, or None where the last entry is False.

    >>> last_streak(np.array([True, False, True, True]))
    2
    """
    if len(mask) == 0 or not mask[-1]:
        return None
    breaks = np.flatnonzero(~mask)
    return int(breaks[-1]) + 1 if len(breaks) else 0


def longest_streak(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Start and length of the longest unbroken run of True; (0, 0) where there is none.

    >>> longest_streak(np.array([True, False, True, True, False]))
    (2, 2)
    """
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if len(starts) == 0:
        return 0, 0
    best = int(np.argmax(ends - starts))
    return int(starts[best]), int(ends[best] - starts[best])


def change_point(values: Array) -> tuple[int, float]:
    """The index at which a series most clearly changed its level, and how surely it did.

    Pettitt's test: U_t counts, over all pairs across a cut at t, how often the later value is the larger one.
    It works on ranks, so that one spike or one NaN-like outlier decides nothing.

    Source: Pettitt 1979, "A non-parametric approach to the change-point problem".

    Args:
        values: [n] finite values in order of time.

    Returns:
        Index of the first value after the change, and an approximate p-value (it supposes independent values,
        which a training curve is not: use it to place a change, not to prove one). (0, 1.0) below 4 values.
    """
    count = len(values)
    if count < 4:
        return 0, 1.0
    ranks = rankdata(values)  # ties share their mean rank, or a constant series would have a trend
    statistic = 2 * np.cumsum(ranks)[:-1] - np.arange(1, count) * (count + 1)
    cut = int(np.argmax(np.abs(statistic)))
    largest = float(np.abs(statistic[cut]))
    p = min(1.0, 2 * float(np.exp(-6 * largest**2 / (count**3 + count**2))))
    return cut + 1, p


def robust_z(values: Array, *, history: Array, floor: float = 0.1) -> Array:
    """How many robust standard deviations each value lies above the median of `history`.

    Args:
        values: [n], any scale; for norms pass logarithms, as norms spread by factors.
        history: [m] values that count as normal.
        floor: the least standard deviation to divide by, so that a flat history does not make an alarm of a ripple.

    Returns:
        [n] (value - median) / max(1.4826 MAD, floor).
    """
    centre = np.median(history)
    scale = 1.4826 * float(np.median(np.abs(history - centre)))
    return np.asarray((values - centre) / max(scale, floor), dtype=np.float64)


def bin_medians(steps: NDArray[np.int64], values: Array, *, bins: int) -> tuple[Array, Array]:
    """Thin a long series to at most `bins` medians over equally many iterations: noise goes, levels stay.

    Of iterations and not of values: in a fast loop the first iterations are all measured in full, later ones now and
    then.

    Returns:
        (steps, values), both [<= bins]; the step of a bin is that of its first value.
    """
    edges = np.linspace(steps[0], steps[-1] + 1, bins + 1)[1:-1] if len(steps) else np.zeros(0)
    chunks = [chunk for chunk in np.split(np.arange(len(values)), np.searchsorted(steps, edges)) if len(chunk)]
    starts = np.array([steps[chunk[0]] for chunk in chunks], dtype=np.float64)
    return starts, np.array([np.median(values[chunk]) for chunk in chunks], dtype=np.float64)


def turning_points(values: Array, *, swing: float) -> list[int]:
    """Indices where a series turned round after a move of at least `swing`, ignoring smaller wiggles.

    A monotone or settled series has none; one full cycle has two.

    >>> turning_points(np.array([0.0, 1.0, 0.9, 1.0, 0.0, 1.0]), swing=0.5)
    [1, 4]
    """
    if len(values) < 3:
        return []
    turns: list[int] = []
    low = high = 0  # indices of the extremes since the last turn
    direction = 0
    for index in range(1, len(values)):
        if values[index] > values[high]:
            high = index
        if values[index] < values[low]:
            low = index
        if direction >= 0 and values[high] - values[index] >= swing:
            if direction > 0:
                turns.append(high)
            direction, low, high = -1, index, index
        elif direction <= 0 and values[index] - values[low] >= swing:
            if direction < 0:
                turns.append(low)
            direction, low, high = 1, index, index
    return turns
