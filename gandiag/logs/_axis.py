"""From rows to steps: which column of a table counts the training, and what it counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gandiag.logs._names import compact
from gandiag.logs.base import LARGEST_STEP, Series

AXES: tuple[tuple[str, float, frozenset[str]], ...] = (
    ("iterations", 1, frozenset({"iteration", "iterations", "iter", "iters", "niter", "it", "totaliters", "curiter"})),
    ("iterations", 1, frozenset({"batchesdone", "globaliter", "globaliteration", "itr", "trainiter"})),
    ("steps", 1, frozenset({"globalstep", "step", "steps", "trainerglobalstep", "trainstep", "totalsteps", "nstep"})),
    ("images", 1, frozenset({"nimg", "curnimg", "images", "imgs"})),
    ("images", 1000, frozenset({"kimg", "progresskimg", "curkimg"})),
    ("iterations", 1, frozenset({"batch", "batchidx", "i"})),
    ("epochs", 1, frozenset({"epoch", "epochs", "curepoch"})),
)
"""What a step counts, the factor that makes it whole, and the names it has; the finest first."""
DISTINCT = 0.6
"""A counter that starts again in each epoch repeats itself; one that was resumed repeats itself for a while."""
FILLED = 0.9


def is_axis(name: str) -> bool:
    """Whether a column of this name may count the training."""
    return any(compact(name) in names for *_, names in AXES)


def by_step(rows: Mapping[str, Series], count: int) -> tuple[dict[str, Series], str, list[str]]:
    """Put the columns of a table on its step axis.

    Args:
        rows: columns whose steps are row numbers, the possible axes among them.
        count: how many rows the table has.

    Returns:
        The other columns by step, what a step counts, and notes in words.
    """
    counters = {name: series for name, series in rows.items() if is_axis(name)}
    others = {name: series for name, series in rows.items() if name not in counters}
    for words, factor, names in AXES:
        for name, series in counters.items():
            if compact(name) not in names:
                continue
            at, steps = _steps(series, factor)
            if _counts(at, steps, count // series.stride) and not _restarts_each_epoch(at, steps, counters):
                return {key: _moved(other, at, steps, series.stride) for key, other in others.items()}, words, []
    why = f" ({', '.join(map(repr, counters))} cannot serve: it does not count on)" if counters else ""
    return others, "rows", [f"no column counts the steps{why}, so the rows are counted instead"]


def _steps(series: Series, factor: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and steps of a counter; both empty where it holds anything but whole numbers from 0 on."""
    at, values = series.points()
    values = values * factor
    whole = np.round(values)
    nothing = np.zeros(0, dtype=np.int64)
    if not np.isfinite(values).all() or (values < 0).any() or (values > LARGEST_STEP).any():
        return nothing, nothing
    if factor == 1 and (whole != values).any():
        return nothing, nothing
    return at, whole.astype(np.int64)


def _counts(at: NDArray[np.int64], steps: NDArray[np.int64], count: int) -> bool:
    return len(at) > 0 and len(at) >= FILLED * count and len(np.unique(steps)) >= max(DISTINCT * len(steps), 1)


def _restarts_each_epoch(at: NDArray[np.int64], steps: NDArray[np.int64], counters: Mapping[str, Series]) -> bool:
    """Does the counter fall exactly where the epoch rises, as the batch of an epoch does?"""
    falls = at[1:][np.diff(steps) < 0]
    for name, series in counters.items():
        if compact(name) in AXES[-1][2] and len(falls):
            rows, epochs = series.points()
            rises = rows[1:][np.diff(epochs) > 0]
            return bool(np.isin(falls, rises).mean() > 0.9)
    return False


def _moved(series: Series, at: NDArray[np.int64], steps: NDArray[np.int64], stride: int) -> Series:
    """The same points with steps for rows; a row without a step is left out."""
    rows, values = series.points()
    index = np.minimum(np.searchsorted(at, rows), len(at) - 1)
    known = (at[index] == rows) | (stride > 1)  # of a merged axis only every stride-th row is there
    moved = Series()
    for step, value in zip(steps[index[known]].tolist(), values[known].tolist(), strict=True):
        moved.add(step, value)
    moved.stride = max(moved.stride, series.stride)
    return moved
