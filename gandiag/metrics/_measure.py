"""Every metric beside its null: the value that a perfect generator would get at the same sizes.

A raw value says little. At d = 512 and n = 4000 a perfect generator has a precision of 0.72; at n = 500, of 0.90. So
data are held against held-out data, and the fakes are judged by how they differ from that.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.metrics._checks import Samples, two_samples
from gandiag.metrics._intervals import Interval, bootstrap, jackknife, prediction, share_error
from gandiag.metrics.base import METRICS
from gandiag.metrics.duplicates import duplicates
from gandiag.metrics.frechet import Gaussian, frechet, frechet_to
from gandiag.metrics.prdc import prdc
from gandiag.metrics.vendi import vendi, vendi_of_fake

GROUPS = 8
"""Groups of rows that the jackknife leaves out in turn."""

SPLITS = 8
"""Ways to split the data in two, from which the null is taken: 2.4 standard deviations are then a 95 % interval."""


_OF_FAKE_ALONE = ("vendi", "duplicates")


@dataclass(frozen=True)
class Measure:
    """One metric of one set of fakes.

    Attributes:
        value: the metric, real against fake.
        low: lower end of its 95 % interval, the other set held fixed.
        high: upper end.
        null: the metric, real against held-out real, on average over splits of the data.
        null_low: lower end of where 95 % of perfect generators would lie.
        null_high: upper end.
        n_real: rows of real.
        n_fake: rows of fake, and of held-out real; the larger of the two sets is cut down to the smaller.
    """

    value: float
    low: float
    high: float
    null: float
    null_low: float
    null_high: float
    n_real: int
    n_fake: int

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def measure_all(
    *, real: Samples, held_out: Samples, fake: Samples, k: int = 5, draws: int = 200, seed: int = 0
) -> dict[str, Measure]:
    """Measure one set of fakes; `RealReference` is cheaper where there are many.

    Args:
        real: embeddings of data, `[n, d]`.
        held_out: embeddings of other data from the same source, `[h, d]`.
        fake: embeddings of generated samples, `[m, d]`.
        k: neighbour of precision, recall, density and coverage.
        draws: of the bootstrap.
        seed: for splits and draws. No global random stream is touched.

    Returns:
        Name to measure: precision, recall, density, coverage, frechet, vendi, duplicates (fakes that nearly repeat a
        fake) and copies (fakes that nearly repeat a real).

    Raises:
        ShapeError: widths differ, a set has `max(k, 15)` rows or fewer, or rows are not finite.
    """
    return RealReference(real=real, held_out=held_out, k=k, seed=seed).measure(fake, draws=draws)


class RealReference:
    """The data that sets of fakes are held against, and the nulls that come from them, made once for each size.

    Args:
        real: embeddings of data, `[n, d]`.
        held_out: embeddings of other data from the same source, `[h, d]`.
        k: neighbour of precision, recall, density and coverage.
        splits: random splits of all the data that the null is taken from, at least 2; the given one is the first.
        seed: for splits, groups and draws.
    """

    def __init__(self, *, real: Samples, held_out: Samples, k: int = 5, splits: int = SPLITS, seed: int = 0) -> None:
        if splits < 2:
            raise UsageError(f"one split gives a null but no interval: splits must be at least 2, got {splits}")
        self._rows = max(k + 1, 2 * GROUPS)
        self._real, self._held_out = two_samples(real, held_out, rows=self._rows)
        self._k = k
        self._splits = splits
        self._seed = seed
        self._groups = _groups(len(self._real), self._rng())
        self._gaussian = Gaussian.of(self._real)
        self._gaussians = [Gaussian.of(self._real[self._groups != group]) for group in range(GROUPS)]
        self._nulls: dict[int, dict[str, tuple[float, Interval]]] = {}

    def measure(self, fake: Samples, *, draws: int = 200) -> dict[str, Measure]:
        """Measure one set of fakes `[m, d]`; see `measure_all`."""
        _, fake = two_samples(self._real, fake, rows=self._rows)
        size = min(len(fake), len(self._held_out))
        rng = self._rng()
        fake = _some(fake, size, rng)
        vectors = _vectors(self._real, fake, self._k)
        values = {name: float(vector.mean()) for name, vector in vectors.items()}
        values |= {"frechet": frechet_to(self._gaussian, fake), "vendi": vendi_of_fake(real=self._real, fake=fake)}
        intervals = {name: bootstrap(vector, draws=draws, rng=rng) for name, vector in vectors.items()}
        intervals |= self._jackknives(fake, values, _groups(size, rng))
        nulls = self._null(size)
        measures = {}
        for name, value in values.items():
            (low, high), (null, between) = _within(name, intervals[name]), nulls[name]
            # A percentile interval need not hold the value itself; an interval that does not would be misread.
            low, high = min(low, value), max(high, value)
            measures[name] = Measure(value, low, high, null, *between, n_real=len(self._real), n_fake=size)
        return measures

    def _jackknives(self, fake: Tensor, values: dict[str, float], groups: Tensor) -> dict[str, Interval]:
        def without(group: int) -> Tensor:
            return fake[(groups != group).to(fake.device)]

        centre = self._gaussian.mean
        return {
            "frechet": jackknife(
                values["frechet"], lambda g: frechet_to(self._gaussians[g], without(g)), groups=GROUPS
            ),
            "vendi": jackknife(values["vendi"], lambda g: vendi(without(g) - centre), groups=GROUPS),
        }

    def _null(self, size: int) -> dict[str, tuple[float, Interval]]:
        """Mean and interval of each metric over splits of all the data into `n` and `size` rows.

        Under the null, data and fakes are exchangeable, so splitting at random is the permutation test's own null.
        """
        if size not in self._nulls:
            self._nulls[size] = self._measure_null(size)
        return self._nulls[size]

    def _measure_null(self, size: int) -> dict[str, tuple[float, Interval]]:
        pool = torch.cat([self._real, self._held_out])
        n, rng = len(self._real), self._rng()
        orders = [np.arange(len(pool)), *(rng.permutation(len(pool)) for _ in range(self._splits - 1))]
        seen: dict[str, list[float]] = {}
        for order in orders:
            one = pool[torch.from_numpy(order[:n])]
            other = pool[torch.from_numpy(order[n : n + size])]
            values = {name: float(vector.mean()) for name, vector in _vectors(one, other, self._k).items()}
            values |= {"frechet": frechet(real=one, fake=other), "vendi": vendi_of_fake(real=one, fake=other)}
            for name, value in values.items():
                seen.setdefault(name, []).append(value)
        nulls = {}
        for name, found in seen.items():
            mean = float(np.mean(found))
            floor = share_error(mean, size) if METRICS[name].hi == 1.0 else 0.0
            # A comparison of two parts of a pool varies as one of two fresh sets does. A number about one part varies
            # less, as parts share the pool, by 1 - size/pool; and the pool's own error, size/pool, comes on top.
            widen = ((len(pool) + size) / (len(pool) - size)) ** 0.5 if name in _OF_FAKE_ALONE else 1.0
            nulls[name] = (mean, _within(name, prediction(found, floor=floor, widen=widen)))
        return nulls

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(self._seed)  # a fresh one: what is asked first must not change what comes next


def _vectors(real: Tensor, fake: Tensor, k: int) -> dict[str, NDArray[np.float64]]:
    """One value a row of the metrics that are means over rows."""
    found, repeats = prdc(real=real, fake=fake, k=k), duplicates(real=real, fake=fake)
    vectors = {
        "precision": found.in_real,
        "recall": found.in_fake,
        "density": found.fake_in.double() / k,
        "coverage": found.covered,
        "duplicates": repeats.repeats_fake,
        "copies": repeats.repeats_real,
    }
    return {name: vector.double().numpy() for name, vector in vectors.items()}


def _within(name: str, interval: Interval) -> Interval:
    """The part of an interval that the metric can reach."""
    low, high = interval
    return max(low, METRICS[name].lo), min(high, METRICS[name].hi)


def _groups(rows: int, rng: np.random.Generator) -> Tensor:
    """A group for each row: at random, all groups of nearly the same size."""
    return torch.from_numpy(rng.permutation(rows) % GROUPS)


def _some(rows: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    if len(rows) == count:
        return rows
    return rows[torch.from_numpy(np.sort(rng.choice(len(rows), count, replace=False)))]
