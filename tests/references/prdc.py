"""Precision, recall, density and coverage as their definitions read: one pair of rows after the other, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def distance(a, b) -> float:
    return float(np.sqrt(((a - b) ** 2).sum()))


def radii(x, k: int) -> list[float]:
    """For each row, the distance to its k-th nearest other row."""
    return [sorted(distance(a, b) for j, b in enumerate(x) if j != i)[k - 1] for i, a in enumerate(x)]


def prdc(real: ArrayLike, fake: ArrayLike, k: int) -> dict[str, float]:
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)
    real_radii, fake_radii = radii(real, k), radii(fake, k)
    table = [[distance(r, f) for f in fake] for r in real]
    n, m = len(real), len(fake)
    balls = [sum(table[i][j] <= real_radii[i] for i in range(n)) for j in range(m)]
    return {
        "precision": sum(count > 0 for count in balls) / m,
        "recall": sum(any(table[i][j] <= fake_radii[j] for j in range(m)) for i in range(n)) / n,
        "density": sum(balls) / (k * m),
        "coverage": sum(any(table[i][j] <= real_radii[i] for j in range(m)) for i in range(n)) / n,
    }


def fast_prdc(real: ArrayLike, fake: ArrayLike, k: int) -> dict[str, float]:
    """The same on whole float64 matrices of differences: for sizes where Python's loops take too long."""
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)

    def table(a, b):
        return np.stack([np.sqrt(((row - b) ** 2).sum(axis=1)) for row in a])

    def radius(x):
        d = table(x, x)
        np.fill_diagonal(d, np.inf)
        return np.sort(d, axis=1)[:, k - 1]

    d, real_radii, fake_radii = table(real, fake), radius(real), radius(fake)
    in_real, in_fake = d <= real_radii[:, None], d <= fake_radii[None, :]
    return {
        "precision": in_real.any(axis=0).mean(),
        "recall": in_fake.any(axis=1).mean(),
        "density": in_real.sum() / (k * len(fake)),
        "coverage": in_real.any(axis=1).mean(),
    }
