"""Every metric beside its null: the value that a perfect generator would get at the same sizes.

A raw value says little. At d = 512 and n = 4000 a perfect generator has a precision of 0.72; at n = 500, of 0.90. So
data are held against held-out data, and the fakes are judged by how differently they come out.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.metrics._cautions import of_sizes, without_p
from gandiag.metrics._checks import Samples, two_samples
from gandiag.metrics._intervals import Interval, Null, bootstrap, jackknife, share_error
from gandiag.metrics._pass import Comparison, RealSide
from gandiag.metrics._pool import FAKE, REAL, Pool, list_length
from gandiag.metrics.base import METRICS
from gandiag.metrics.clipped import Clipped, share_of_good
from gandiag.metrics.frechet import Gaussian, frechet, frechet_to
from gandiag.metrics.kid import kid_of, mean_kernel
from gandiag.metrics.vendi import vendi_of_fake

GROUPS = 8
"""Groups of rows that the jackknife leaves out in turn."""

SPLITS = 64
"""Ways to split the data in two that the null is taken from. They share one pass over the data..."""

DEAR_SPLITS = 8
"""...but for the Fréchet distance and the Vendi score, which are taken of so many; 2.4 standard deviations are then
a 95 % interval."""

LONGEST = 512
"""Neighbours that lists for many splits may hold; where parts are so unequal that they need more, each of
`DEAR_SPLITS` splits gets a pass of its own."""

_OF_ONE_PART = ("vendi", "duplicates", "copies")

CAUTION, CAUTION_OF_ONE = 1.4, 1.2
"""Times wider than the splits' own spread says a null is taken. Parts of one pool are not independent: where one has
more outliers the other has fewer. Over fresh sets the variance was 0.7 to 1.5 times that over splits, metric by metric
(n = 500, d = 2, 64, 512), and for numbers about one part up to 1.3 times what the known factor says."""


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
        p_value: how often a perfect generator's value would be at least as far from the null, to either side; NaN where
            that is not known.
    """

    value: float
    low: float
    high: float
    null: float
    null_low: float
    null_high: float
    n_real: int
    n_fake: int
    p_value: float = math.nan

    def to_json(self) -> dict[str, Any]:
        """As plain values; what is not known is None, as JSON has no NaN."""
        return {name: value if math.isfinite(value) else None for name, value in asdict(self).items()}


def measure_all(
    *,
    real: Samples,
    held_out: Samples,
    fake: Samples,
    k: int = 5,
    draws: int = 200,
    spectral: bool = True,
    seed: int = 0,
) -> dict[str, Measure]:
    """Measure one set of fakes; `RealReference` is cheaper where there are many.

    Args:
        real: embeddings of data, `[n, d]`.
        held_out: embeddings of other data from the same source, `[h, d]`.
        fake: embeddings of generated samples, `[m, d]`.
        k: neighbour that sets the radii of balls.
        draws: of the bootstrap.
        spectral: whether to take the Fréchet distance and the Vendi score, which at d > 500 cost more than all others.
        seed: for splits and draws. No global random stream is touched.

    Returns:
        Name to measure: precision, recall, density, coverage, clipped_density, clipped_coverage, kid, frechet, vendi,
        duplicates (fakes that nearly repeat a fake) and copies (fakes that nearly repeat a real).

    Raises:
        ShapeError: widths differ, a set has `max(k, 15)` rows or fewer, or rows are not finite.
    """
    return RealReference(real=real, held_out=held_out, k=k, spectral=spectral, seed=seed).measure(fake, draws=draws)


class RealReference:
    """The data that sets of fakes are held against, and the nulls that come from them, made once for each size.

    Args:
        real: embeddings of data, `[n, d]`.
        held_out: embeddings of other data from the same source, `[h, d]`.
        k: neighbour that sets the radii of balls.
        splits: random splits of all the data that the null is taken from, at least 2; the given one is the first.
        spectral: whether to take the Fréchet distance and the Vendi score.
        seed: for splits, groups and draws.
    """

    def __init__(
        self,
        *,
        real: Samples,
        held_out: Samples,
        k: int = 5,
        splits: int = SPLITS,
        spectral: bool = True,
        seed: int = 0,
    ) -> None:
        if splits < 2:
            raise UsageError(f"one split gives a null but no interval: splits must be at least 2, got {splits}")
        self._rows = max(k + 1, 2 * GROUPS)
        self._real, self._held_out = two_samples(real, held_out, rows=self._rows)
        self._side = RealSide(self._real, k=k)
        self._k = k
        self._splits = splits
        self._seed = seed
        self._groups = _groups(len(self._real), self._rng())
        self._spectral = spectral
        self._nulls: dict[int, dict[str, Null]] = {}

    def measure(self, fake: Samples, *, draws: int = 200) -> dict[str, Measure]:
        """Measure one set of fakes `[m, d]`; see `measure_all`."""
        _, fake = two_samples(self._real, fake, rows=self._rows)
        size = min(len(fake), len(self._held_out))
        rng = self._rng()
        fake = _some(fake, size, rng)
        seen = self._side.against(fake)
        values, intervals = neighbour_values(seen), self._intervals(seen, draws, rng)
        if self._spectral:
            values |= self._dear(self._real, fake)
            intervals |= self._jackknives(fake, values, _groups(size, rng))
        nulls = self._null(size)
        measures = {}
        for name, value in values.items():
            (low, high), null = _within(name, intervals[name]), nulls[name]
            # A percentile interval need not hold the value itself; an interval that does not would be misread.
            low, high = min(low, value), max(high, value)
            between = _within(name, null.interval())
            p = math.nan if name in self._without_p else null.p_value(value)
            measures[name] = Measure(value, low, high, null.mean, *between, len(self._real), size, p)
        return measures

    def cautions(self, fake: Samples) -> tuple[str, ...]:
        """What makes numbers about these fakes mean little, in sentences; usually nothing."""
        _, fake = two_samples(self._real, fake, rows=self._rows)
        n, d = self._real.shape
        used = min(len(fake), len(self._held_out))
        found = of_sizes(real=n, fake=len(fake), used=used, d=d, k=self._k, repeated=self._repeated)
        return (*self._without_p.values(), *found)

    def _intervals(self, seen: Comparison, draws: int, rng: np.random.Generator) -> dict[str, Interval]:
        """Rows are redrawn from the stored answers; no distance is made again."""
        found = {name: bootstrap(vector, draws=draws, rng=rng) for name, vector in _vectors(seen).items()}
        n, m, k = len(seen.fakes_in), len(seen.holding), seen.k
        low, high = found["clipped_coverage"]
        found["clipped_coverage"] = (share_of_good(low, n=n, m=m, k=k), share_of_good(high, n=n, m=m, k=k))
        value, error = kid_of(seen)
        found["kid"] = (value - 1.96 * error, value + 1.96 * error)
        return found

    def _jackknives(self, fake: Tensor, values: dict[str, float], groups: Tensor) -> dict[str, Interval]:
        def without(group: int) -> Tensor:
            return fake[(groups != group).to(fake.device)]

        return {
            "frechet": jackknife(
                values["frechet"], lambda g: frechet_to(self._gaussians[g], without(g)), groups=GROUPS
            ),
            "vendi": jackknife(
                values["vendi"], lambda g: vendi_of_fake(real=self._real, fake=without(g)), groups=GROUPS
            ),
        }

    @cached_property
    def _without_p(self) -> dict[str, str]:
        return without_p(torch.cat([self._real, self._held_out]), repeated=self._repeated)

    @cached_property
    def _repeated(self) -> float:
        """Share of the data that repeat another row exactly."""
        return float((self._side.among.spacing == 0).double().mean())

    @cached_property
    def _gaussian(self) -> Gaussian:
        return Gaussian.of(self._real)

    @cached_property
    def _gaussians(self) -> list[Gaussian]:
        """The data without one group of rows each."""
        return [Gaussian.of(self._real[self._groups != group]) for group in range(GROUPS)]

    def _dear(self, real: Tensor, fake: Tensor) -> dict[str, float]:
        distance = frechet_to(self._gaussian, fake) if real is self._real else frechet(real=real, fake=fake)
        return {"frechet": distance, "vendi": vendi_of_fake(real=real, fake=fake)}

    def _null(self, size: int) -> dict[str, Null]:
        """Each metric over splits of all the data into `n` and `size` rows.

        Under the null, data and fakes are exchangeable, so splitting at random is the permutation test's own null.
        """
        if size not in self._nulls:
            self._nulls[size] = self._measure_null(size)
        return self._nulls[size]

    def _measure_null(self, size: int) -> dict[str, Null]:
        pool = torch.cat([self._real, self._held_out])
        n, rng = len(self._real), self._rng()
        orders = [np.arange(len(pool)), *(rng.permutation(len(pool)) for _ in range(self._splits - 1))]
        seen: dict[str, list[float]] = {}
        for order in orders[: DEAR_SPLITS if self._spectral else 0]:
            one, other = pool[torch.from_numpy(order[:n])], pool[torch.from_numpy(order[n : n + size])]
            _append(seen, self._dear(one, other))
        if list_length(self._k, min(n, size) / len(pool)) <= LONGEST:
            roles = torch.zeros(len(orders), len(pool), dtype=torch.int8)
            for role, order in zip(roles, orders, strict=True):
                role[order[:n]], role[order[n : n + size]] = REAL, FAKE
            splits = Pool(pool, roles.to(pool.device), k=self._k)
            for number in range(len(orders)):
                _append(seen, neighbour_values(splits.split(number)))
        else:
            for order in orders[:DEAR_SPLITS]:
                side = RealSide(pool[torch.from_numpy(order[:n])], k=self._k)
                _append(seen, neighbour_values(side.against(pool[torch.from_numpy(order[n : n + size])])))
        # Of equal data, all that a kernel distance tells is the rounding of the kernel.
        rounding = {"kid": 8 * torch.finfo(torch.float32).eps * mean_kernel(pool)}
        return {
            name: _null_of(name, found, size=size, pool=len(pool), least=rounding.get(name, 0.0))
            for name, found in seen.items()
        }

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(self._seed)  # a fresh one: what is asked first must not change what comes next


def neighbour_values(seen: Comparison) -> dict[str, float]:
    """All metrics that a pass over real and fake yields."""
    means = {name: float(vector.mean()) for name, vector in _vectors(seen).items()}
    scaled = Clipped.of(seen)
    return means | {
        "clipped_density": scaled.density,
        "clipped_coverage": scaled.coverage,
        "kid": kid_of(seen)[0],
    }


def _vectors(seen: Comparison) -> dict[str, NDArray[np.float64]]:
    """One value a row of the metrics that are means over rows, or (the clipped ones) nearly so."""
    scaled = Clipped.of(seen)
    vectors = {
        "precision": seen.holding > 0,
        "recall": seen.reached,
        "density": seen.holding.double() / seen.k,
        "coverage": seen.fakes_in > 0,
        "clipped_density": scaled.of_fake,
        "clipped_coverage": scaled.of_real,
        "duplicates": seen.repeats_fake,
        "copies": seen.repeats_real,
    }
    return {name: vector.double().numpy() for name, vector in vectors.items() if vector is not None}


def _null_of(name: str, values: list[float], *, size: int, pool: int, least: float) -> Null:
    floor = share_error(float(np.mean(values)), size) if METRICS[name].hi == 1.0 else least
    # A comparison of two parts of a pool varies nearly as one of two fresh sets does. A number that is mostly about one
    # part varies less, as parts share the pool, by 1 - size/pool; and the pool's own error, size/pool, comes on top.
    if name in _OF_ONE_PART:
        widen = CAUTION_OF_ONE * ((pool + size) / (pool - size)) ** 0.5
    else:
        widen = CAUTION
    return Null.of(values, floor=floor, widen=widen)


def _append(seen: dict[str, list[float]], values: dict[str, float]) -> None:
    for name, value in values.items():
        seen.setdefault(name, []).append(value)


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
