"""What the ranks of a distributed run recorded, each for itself, as one table.

While a run trains its ranks tell each other nothing: a collective of gandiag's own would change the training's order,
and ranks that did not agree on it would wait for each other for ever. So each rank records what it saw, its part of
each batch, and the parts are put together here, one rank after the other and without loading all of them at once.

How a column is merged follows from what it is, for batches of one size on all ranks, as a DistributedSampler makes:

    grad/*, update/*        the mean. Averaging has made gradients the same on all ranks, and the mean of equals is
                            exact. Of sharded nets, the norm of all shards together.
    */logits/*/std          of all rows together: within the ranks and between them.
    numerics/*, skipped/*,  the largest: what one rank could not compute, all have lost; and each step is a step of
    d_steps, g_steps        all ranks.
    time                    the first rank's.
    all others              the mean. Exact for what is a mean over rows (losses, means of logits, shares); for
                            quantiles and the statistics of D's features it is the mean of what each rank saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from gandiag.rundir._batches import Columns

_LARGEST = ("numerics/", "skipped/", "d_steps", "g_steps")


class Merge:
    """The merged table so far.

    Args:
        shards: for each role, "d" or "g", how many ranks hold a whole net together; empty where each rank holds one.
        ranks: how many there were; fewer may be added.
    """

    def __init__(self, shards: Mapping[str, int] | None = None, ranks: int = 1) -> None:
        self._shards = dict(shards or {})
        self._table: Columns = {"iteration": np.empty(0, np.int64)}
        self._counts: dict[str, np.ndarray] = {}  # ranks that measured it, for each row
        self._ranks = ranks
        self._added = 0

    def add(self, columns: Columns) -> None:
        """Take in the table of one more rank.

        Args:
            columns: "iteration", int64 and strictly ascending, and float32 columns of the same length; it is emptied.
        """
        iteration = columns.pop("iteration")
        self._added += 1
        rows = self._make_room(iteration)
        spread: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name in [name for name in columns if _is_deviation(name)]:
            middle = name.removesuffix("std") + "mean"
            if middle in columns and middle in self._table:  # before the mean itself is merged
                spread[name] = (self._table[middle][rows].copy(), columns[middle])
        for name in list(columns):
            new = columns.pop(name)
            if name not in self._table:
                self._table[name] = np.full(len(self._table["iteration"]), np.nan, np.float32)
                self._counts[name] = np.zeros(len(self._table["iteration"]), np.int32)
            old, count = self._table[name][rows], self._counts[name][rows]
            merged = self._merged(name, old, new, count, spread.get(name))
            self._table[name][rows] = np.where(count == 0, new, np.where(np.isnan(new), old, merged))
            self._counts[name][rows] = count + ~np.isnan(new)

    def result(self) -> Columns:
        """The table of all ranks: "iteration", int64 and strictly ascending, and the other columns as float32.

        A row is there as soon as one rank has it, and a mean is over the ranks that have it. The norm of a sharded net
        is NaN where a rank is missing.
        """
        ranks = max(self._ranks, self._added)
        for name, column in self._table.items():
            shards = self._shards_of(name)
            if shards:
                # Replicas of a shard (hybrid sharding) hold the same numbers, and have been summed as well.
                column *= np.float32((shards / ranks) ** 0.5)
                # A rank may have nothing of a small parameter, but it has a total.
                counts = self._counts.get(_total_of(name), self._counts[name])
                column[counts < ranks] = np.nan
        return self._table

    def _merged(
        self,
        name: str,
        old: np.ndarray,
        new: np.ndarray,
        count: np.ndarray,
        means: tuple[np.ndarray, np.ndarray] | None,
    ) -> np.ndarray:
        """What `count` ranks measured, merged to `old`, and `new` of one more; only where both are numbers."""
        with np.errstate(invalid="ignore", over="ignore"):  # a run that diverged holds infinities
            if name == "time":
                return old
            if name.startswith(_LARGEST):
                merged: np.ndarray = np.maximum(old, new)
            elif self._shards_of(name):
                merged = np.hypot(old, new)
            elif means is not None:
                within = (count * np.square(old, dtype=np.float64) + np.square(new, dtype=np.float64)) / (count + 1)
                between = count * np.square(means[1] - means[0], dtype=np.float64) / np.square(count + 1.0)
                merged = np.sqrt(within + between)
            else:  # equals stay equal, infinities too
                merged = np.where(old == new, old, (count * old.astype(np.float64) + new) / (count + 1))
        return merged.astype(np.float32)

    def _shards_of(self, name: str) -> int:
        """How many shards make the norm `name` a whole one; 0 for any other column."""
        room, _, rest = name.partition("/")
        return self._shards.get(rest.partition("/")[0], 0) if room == "grad" else 0

    def _make_room(self, iteration: np.ndarray) -> np.ndarray:
        """Rows for all of `iteration`; where they are."""
        known = self._table["iteration"]
        if len(known) == len(iteration) and (known == iteration).all():
            return np.arange(len(known))
        axis = np.union1d(known, iteration)
        if len(axis) > len(known):
            places = np.searchsorted(axis, known)
            for name in [name for name in self._table if name != "iteration"]:
                for home, empty in ((self._table, np.float32("nan")), (self._counts, np.int32(0))):
                    wider = np.full(len(axis), empty, home[name].dtype)
                    wider[places] = home[name]
                    home[name] = wider
            self._table["iteration"] = axis
        return np.searchsorted(axis, iteration)


def needed(names: Iterable[str]) -> frozenset[str]:
    """`names`, and what is needed to merge them: the means beside deviations, and the totals beside norms."""
    asked = frozenset(names)
    means = {name.removesuffix("std") + "mean" for name in asked if _is_deviation(name)}
    return asked | means | {_total_of(name) for name in asked if name.startswith("grad/")}


def _total_of(name: str) -> str:
    return "/".join([*name.split("/")[:2], "total"])


def _is_deviation(name: str) -> bool:
    return "/logits/" in name and name.endswith("/std")
