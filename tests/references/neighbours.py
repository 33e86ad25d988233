"""Everything that one pass over real and fake sees, from whole float64 matrices of differences."""

from __future__ import annotations

import numpy as np


def table(a, b):
    """All distances, row by row, without the product that cancels."""
    return np.stack([np.sqrt(((row - b) ** 2).sum(axis=1)) for row in a])


def others(x):
    """The same within one set; nobody is a neighbour of itself."""
    distances = table(x, x)
    np.fill_diagonal(distances, np.inf)
    return distances


def comparison(real, fake, k: int, closeness: float = 0.2) -> dict[str, np.ndarray]:
    """The fields of `gandiag.metrics.Comparison` that are exact."""
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)
    among_real, among_fake, across = others(real), others(fake), table(real, fake)
    real_radii, fake_radii = np.sort(among_real, axis=1)[:, k - 1], np.sort(among_fake, axis=1)[:, k - 1]
    clipped = np.minimum(real_radii, np.median(real_radii))
    inside = across <= real_radii[:, None]
    radius = closeness * np.median(among_real.min(axis=1))
    return {
        "fakes_in": inside.sum(axis=1),
        "holding": inside.sum(axis=0),
        "reached": (across <= fake_radii[None]).any(axis=1),
        "holding_clipped": (across <= clipped[:, None]).sum(axis=0),
        "repeats_fake": among_fake.min(axis=1) <= radius,
        "repeats_real": across.min(axis=0) <= radius,
        "repeated": across.min(axis=1) <= radius,
    }


def held_by_clipped(real, k: int):
    """In how many other reals' clipped balls each real lies; for data without ties."""
    among = others(np.asarray(real, dtype=np.float64))
    radii = np.sort(among, axis=1)[:, k - 1]
    return (among <= np.minimum(radii, np.median(radii))[:, None]).sum(axis=0)


def kernel_sums(real, fake) -> dict[str, np.ndarray]:
    """Sums of the cubic kernel, over the others of the same set and over the other set."""
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)

    def cubic(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    within_real, within_fake, across = cubic(real, real), cubic(fake, fake), cubic(real, fake)
    return {
        "kernel_real": within_real.sum(axis=1) - within_real.diagonal(),
        "kernel_fake": within_fake.sum(axis=1) - within_fake.diagonal(),
        "kernel_of_real": across.sum(axis=1),
        "kernel_of_fake": across.sum(axis=0),
    }
