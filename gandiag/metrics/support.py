"""How many different samples a generator has, by the birthday paradox: collisions among n samples betray it.

    found = support(real=real, fake=fake)
    found.size, found.low, found.high                # 50.4, 48.4, 52.4: it has about fifty outputs

Arora and Zhang 2017, arXiv:1706.08224, look for near-duplicates by eye in a batch of s samples; where half of the
batches have one the support is about s². Here the data's own spacing says what a near-duplicate is, and all pairs are
counted: n samples from s equal outputs make n (n - 1) / 2s pairs on average.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2

from gandiag.errors import UsageError
from gandiag.metrics._checks import Samples, two_samples
from gandiag.metrics._pass import CLOSENESS
from gandiag.metrics._tiles import Rows, blocks, nearest
from gandiag.metrics.base import metric

LEVEL = 0.95


@dataclass(frozen=True)
class Support:
    """An estimate of how many different samples there are.

    Attributes:
        size: the estimate, n (n - 1) / 2 / pairs; infinite without a collision.
        low: lower end of its 95 % interval: so many there are at least, whether or not there are collisions.
        high: upper end; infinite without a collision.
        pairs: pairs of fakes that collide.
        rows: fakes that were compared, n.
        radius: the distance up to which two fakes collide.
    """

    size: float
    low: float
    high: float
    pairs: int
    rows: int
    radius: float

    def to_json(self) -> dict[str, Any]:
        """As plain values; an infinite number is None, as JSON has none."""
        return {name: None if value == math.inf else value for name, value in asdict(self).items()}


def support(*, real: Samples, fake: Samples, closeness: float = CLOSENESS) -> Support:
    """Estimate the size of the fakes' support.

    Two fakes collide if they are no farther apart than `closeness` times the median distance from a real row to its
    nearest other one, as in `duplicates`. What is estimated is the *effective* size, 1 over the chance that two fakes
    collide: of outputs that are not equally likely there are more.

    The interval is that of a Poisson count (Garwood 1936). Where some outputs are likelier than others the number of
    pairs varies more; how much follows from the pairs of each fake (the variance of a U-statistic, Hoeffding 1948),
    and widens it.

    Args:
        real: embeddings of data, `[n, d]`, for their spacing.
        fake: embeddings of generated samples, `[m, d]`.
        closeness: what part of the data's spacing counts as the same.

    Raises:
        ShapeError: widths differ, a set has fewer than 2 rows, or rows are not finite.
        UsageError: `closeness` is negative.

    >>> found = support(real=[[0.0], [1.0], [2.0]], fake=[[5.0], [5.1], [7.0], [9.0]])
    >>> found.pairs, found.size
    (1, 6.0)
    """
    if not closeness >= 0:
        raise UsageError(f"closeness must be 0 or more, got {closeness}")
    return Collisions.of(real=real, fake=fake, closeness=closeness).support()


@metric("support", better="higher", lo=0.0, hi=math.inf, needs=2)
def support_at_least(*, real: Samples, fake: Samples) -> float:
    """How many different samples there are at least: the lower end of the interval, which is always finite."""
    return support(real=real, fake=fake).low


@dataclass(frozen=True)
class Collisions:
    """How often samples of one set collide.

    Attributes:
        pairs: that do.
        rows: that were compared.
        radius: up to which they do.
        overdispersion: variance of the number of pairs over that of a Poisson count, at least 1.
    """

    pairs: int
    rows: int
    radius: float
    overdispersion: float

    @classmethod
    def of(cls, *, real: Samples, fake: Samples, closeness: float = CLOSENESS) -> Collisions:
        """Compare all pairs of fakes; see `support`."""
        real, fake = two_samples(real, fake, rows=2)
        centre = real.mean(dim=0, dtype=torch.float64)
        a = Rows.of(real, centre=centre, dtype=torch.float64)
        b = Rows.of(fake, centre=centre, dtype=torch.float64)
        radius = closeness * float(nearest(a, a, 1)[0].quantile(0.5))
        each = _collisions(b, radius)
        return cls(int(each.sum()) // 2, len(fake), radius, _overdispersion(each))

    @property
    def possible(self) -> float:
        """Pairs that there are."""
        return self.rows * (self.rows - 1) / 2

    def at_least(self, pairs: int | float, overdispersion: float) -> float:
        """How many different samples there are at least, if so many pairs collided."""
        return self.possible / _interval(pairs, overdispersion)[1]

    def support(self) -> Support:
        """The estimate."""
        low = _interval(self.pairs, self.overdispersion)[0]
        return Support(
            size=self.possible / self.pairs if self.pairs else math.inf,
            low=self.at_least(self.pairs, self.overdispersion),
            high=self.possible / low if low > 0 else math.inf,
            pairs=self.pairs,
            rows=self.rows,
            radius=self.radius,
        )


def _collisions(rows: Rows, radius: float) -> NDArray[np.int64]:
    """How many other rows each one collides with, `[n]`."""
    # Rounding may put copies apart; it must not, where the radius is 0.
    reach = radius**2 + rows.rounding(torch.full_like(rows.norms, radius))
    counts = torch.zeros(len(rows.x), dtype=torch.int64, device=rows.x.device)
    for block in blocks(rows, rows):
        near = block.d2 <= torch.maximum(reach[block.rows, None], reach[block.columns])
        counts[block.rows] += near.sum(dim=1)
        # The block holds both directions of a pair only where it crosses the diagonal.
        once = max(0, block.rows.stop - block.columns.start)
        counts[block.columns][once:] += near[:, once:].sum(dim=0)
    return np.asarray(counts.cpu())


def _overdispersion(each: NDArray[np.int64]) -> float:
    """Variance of the number of pairs over that of a Poisson count, at least 1."""
    n, pairs = len(each), each.sum() / 2
    if n < 3 or pairs == 0:
        return 1.0
    chance = pairs / (n * (n - 1) / 2)
    # Over ordered triples: how often one row collides with two others, beyond what independent pairs would do.
    shared = np.square(each.astype(np.float64)).sum() - 2 * pairs - n * (n - 1) * (n - 2) * chance**2
    return float(max(1.0, 1 - chance + shared / pairs))


def _interval(pairs: int | float, overdispersion: float) -> tuple[float, float]:
    """95 % interval of the expected number of pairs: Garwood's for so much smaller a count, scaled back."""
    count, tail = pairs / overdispersion, (1 - LEVEL) / 2
    low = chi2.ppf(tail, 2 * count) / 2 if pairs else 0.0
    high = chi2.ppf(1 - tail, 2 * count + 2) / 2
    return float(low * overdispersion), float(high * overdispersion)
