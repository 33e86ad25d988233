"""Clipped density and coverage as their paper defines them, pair by pair, in float64."""

from __future__ import annotations

from math import comb, exp

import numpy as np
from references.neighbours import others, table
from scipy.special import betaln


def clipped_density(real, fake, k: int) -> float:
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)
    among = others(real)
    radii = np.sort(among, axis=1)[:, k - 1]
    clip = np.minimum(radii, np.median(radii))
    fakes = np.minimum((table(real, fake) <= clip[:, None]).sum(axis=0) / k, 1).mean()
    reals = np.minimum((among <= clip[:, None]).sum(axis=0) / k, 1).mean()
    return min(1.0, fakes / reals)


def fullness(n: int, m: int, k: int) -> float:
    """E[min(J, k)] / k where J of m data fall into a ball that holds a Beta(k, n - k) share of them."""
    chances = [comb(m, j) * exp(betaln(k + j, n - k + m - j) - betaln(k, n - k)) for j in range(m + 1)]
    assert abs(sum(chances) - 1) < 1e-9
    return sum(min(j, k) * chance for j, chance in enumerate(chances)) / k


def clipped_coverage(real, fake, k: int) -> float:
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)
    radii = np.sort(others(real), axis=1)[:, k - 1]
    found = np.minimum((table(real, fake) <= radii[:, None]).sum(axis=1) / k, 1).mean()
    n, m = len(real), len(fake)
    expected = [fullness(n, fakes, k) for fakes in range(m + 1)]
    return float(np.interp(found, expected, np.arange(m + 1) / m))
