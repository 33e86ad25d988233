"""Clipped density and clipped coverage: density and coverage that outliers cannot inflate and that read as shares.

Source: Salvy et al. 2025 (ICLR 2026), arXiv:2507.01761. Density counts balls without bound, and one outlier among the
reals has a ball that holds everything. Here no real ball is larger than the median one, no fake counts for more than 1,
and each number is put on a scale on which a set of which a share `s` is good reads `s`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.stats import betabinom
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.metrics._checks import Samples
from gandiag.metrics._pass import Comparison, RealSide
from gandiag.metrics.base import metric


@dataclass(frozen=True, eq=False)
class Clipped:
    """The two numbers, and what they are the means of.

    Attributes:
        density: fidelity, in [0, 1]; the share of fakes that are as good as data.
        coverage: diversity, in [0, 1]; the share of the data that are generated.
        of_fake: `[m]` each fake's part of the density; its mean, at most 1, is the density.
        of_real: `[n]` how full each real's ball is, in [0, 1], before it is put on the scale of shares.
    """

    density: float
    coverage: float
    of_fake: Float[Tensor, " m"] = field(repr=False)
    of_real: Float[Tensor, " n"] = field(repr=False)

    @classmethod
    def of(cls, seen: Comparison) -> Clipped:
        """What a pass over real and fake says.

        Raises:
            UsageError: the pass did not look at clipped balls.
        """
        if seen.holding_clipped is None or seen.holding_clipped_real is None:
            raise UsageError("this pass did not look at clipped balls; make the RealSide with clipped=True")
        k = seen.k
        perfect = (seen.holding_clipped_real.double() / k).clamp(max=1).mean()
        # No real in the ball of another, clipped: only where most distances are 0 but not most radii. Then all is 0.
        of_fake = (seen.holding_clipped.double() / k).clamp(max=1) / (perfect if perfect > 0 else 1)
        of_real = (seen.fakes_in.double() / k).clamp(max=1)
        coverage = share_of_good(float(of_real.mean()), n=len(of_real), m=len(of_fake), k=k)
        return cls(min(1.0, float(of_fake.mean())), coverage, of_fake, of_real)


def clipped(*, real: Samples, fake: Samples, k: int = 5) -> Clipped:
    """Compare two sets of embeddings by balls that are clipped.

    Args:
        real: embeddings of data, `[n, d]`.
        fake: embeddings of generated samples from the same embedder, `[m, d]`.
        k: which nearest neighbour sets a ball's radius.

    Returns:
        Both numbers. Both are blind to shrunken modes: at a tenth of the spread both read 1.

    Raises:
        ShapeError: widths differ, a set has `k` rows or fewer, or rows are not finite.
        UsageError: `k` is below 1.
    """
    return Clipped.of(RealSide(real, k=k, repeats=False, kernel=False).against(fake))


@metric("clipped_density", better="higher", lo=0.0, hi=1.0, needs=6)
def clipped_density(*, real: Samples, fake: Samples, k: int = 5) -> float:
    """Share of fakes that are as good as data: low where there is junk. Blind to missing modes."""
    return clipped(real=real, fake=fake, k=k).density


@metric("clipped_coverage", better="higher", lo=0.0, hi=1.0, needs=6)
def clipped_coverage(*, real: Samples, fake: Samples, k: int = 5) -> float:
    """Share of the data that are generated: low where modes are missing or rare. Blind to shrunken ones."""
    return clipped(real=real, fake=fake, k=k).coverage


def share_of_good(fullness: float, *, n: int, m: int, k: int) -> float:
    """The share of `m` fakes that must be as good as data for balls to be as full as this on average.

    Of `s m` fakes from the data's own distribution, the number in a real's ball follows a beta-binomial law (the ball
    holds a share of the distribution that is Beta(k, n - k)), whatever that distribution is. So its mean, clipped at k,
    is known, and can be inverted; between whole numbers of fakes by a straight line.
    """
    expected = _fullness(n, m, k)
    return float(np.interp(fullness, expected, np.arange(m + 1) / m))


@lru_cache(maxsize=16)
def _fullness(n: int, m: int, k: int) -> NDArray[np.float64]:
    """Mean of `min(fakes in a real's ball, k) / k` for 0, 1, ..., m fakes as good as data."""
    fakes = np.arange(m + 1)
    missing = sum((k - j) * betabinom.pmf(j, fakes, k, n - k) for j in range(k))
    return np.asarray(1 - missing / k)
