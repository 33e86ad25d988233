"""What can be said of counts over modes: how sure a share is, which shares differ, and what chance alone would do."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, fisher_exact, norm

Array: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64]

LEVEL = 0.95


def wilson(counts: Counts, total: int) -> tuple[Array, Array]:
    """95 % intervals of the shares `counts / total`; unlike the usual ones they hold for counts of 0 and for few rows.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    z = float(norm.ppf((1 + LEVEL) / 2))
    shares = counts / total
    middle = (shares + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(shares * (1 - shares) / total + (z / (2 * total)) ** 2)
    # At a count of 0 or of all, both ends agree with the share only up to rounding.
    return np.where(counts == 0, 0.0, middle - half), np.where(counts == total, 1.0, middle + half)


def adjusted_p(*, reals: Counts, fakes: Counts, of_fakes: int) -> Array:
    """For each group the p of equal shares, adjusted over all groups, `[k]`.

    Fisher's exact test, as the missing groups have small counts; adjusted as Benjamini and Hochberg 1995 do: of the
    groups that are called different at level 0.05, one in twenty is in error, and all are alike in 95 % of cases where
    there is nothing to find.

    Args:
        reals: `[k]` reals in each group.
        fakes: `[k]` fakes in each group.
        of_fakes: fakes in all groups, or more where some are in none.
    """
    of_reals = reals.sum()
    p = [
        fisher_exact([[fake, of_fakes - fake], [real, of_reals - real]]).pvalue
        for real, fake in zip(reals, fakes, strict=True)
    ]
    return np.asarray(false_discovery_control(np.clip(p, 0, 1)), dtype=np.float64)


def entropy(counts: Counts) -> float:
    """Entropy of the shares in nats: log k where `k` groups are equally full; NaN of no rows.

    From counts it is (k - 1) / 2n too small on average (Miller 1955).
    """
    if counts.sum() == 0:
        return float("nan")
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def reverse_kl(*, reals: Counts, fakes: Counts) -> float:
    """KL(fake || real) of the shares in nats; infinite where fakes are in a group without reals; NaN of no fakes.

    The number that is given for stacked MNIST (Metz et al. 2017, arXiv:1611.02163; PacGAN, arXiv:1712.04086), with the
    data's own shares for the uniform ones that they assume.
    """
    if fakes.sum() == 0:
        return float("nan")
    some = fakes > 0
    if (reals[some] == 0).any():
        return float("inf")
    fake, real = fakes[some] / fakes.sum(), reals[some] / reals.sum()
    return float((fake * np.log(fake / real)).sum())


def reverse_kl_floor(*, groups: int, n_real: int | float, n_fake: int | float) -> float:
    """The reverse KL that a perfect sampler gets on average: (k - 1) / 2 (1 / n_fake + 1 / n_real).

    2n times the KL of counts from the true shares has the chi-squared distribution with k - 1 degrees of freedom (Wilks
    1938), whose mean is k - 1. To second order the errors of both sides add. It takes some five rows in each group: of
    1,000 equal groups 2,500 samples get 0.22 where it says 0.20, 1,000 samples 0.57 where it says 0.50.

    Args:
        groups: how many, k.
        n_real: rows that the real shares are from, `inf` where they are known.
        n_fake: rows that the fake shares are from; of none it is NaN.
    """
    if n_fake == 0:
        return float("nan")
    return (groups - 1) / 2 * (1 / n_fake + 1 / n_real)


def expected_hits(shares: Array, samples: int) -> float:
    """How many groups a perfect sampler hits at least once, on average: the sum of 1 - (1 - share)^samples."""
    with np.errstate(divide="ignore"):  # a share of 1 is hit: log 0 is minus infinity, which is what is meant
        return float(-np.expm1(samples * np.log1p(-np.asarray(shares, dtype=np.float64))).sum()) if samples else 0.0
