"""MS-SSIM as Wang, Simoncelli and Bovik 2003 write it: one window after the other, one pair of pixels at a time."""

from __future__ import annotations

import numpy as np

WEIGHTS = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]


def window(size: int = 11, sigma: float = 1.5):
    steps = np.arange(size) - size // 2
    weights = np.exp(-(steps[:, None] ** 2 + steps[None, :] ** 2) / (2 * sigma**2))
    return weights / weights.sum()


def terms(x, y, data_range: float) -> tuple[float, float]:
    """Mean over windows of contrast times structure, and of luminance times those."""
    c1, c2, w = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2, window()
    structures, similarities = [], []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = x[top : top + 11, left : left + 11], y[top : top + 11, left : left + 11]
            mean_a, mean_b = (w * a).sum(), (w * b).sum()
            var_a, var_b = (w * (a - mean_a) ** 2).sum(), (w * (b - mean_b) ** 2).sum()
            covariance = (w * (a - mean_a) * (b - mean_b)).sum()
            structure = (2 * covariance + c2) / (var_a + var_b + c2)
            structures.append(structure)
            similarities.append(structure * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1))
    return float(np.mean(structures)), float(np.mean(similarities))


def halved(x):
    h, w = x.shape
    at = lambda i, j: x[min(i, h - 1), min(j, w - 1)]  # noqa: E731 - the edge is repeated
    rows, columns = range(0, h, 2), range(0, w, 2)
    return np.array([[(at(i, j) + at(i + 1, j) + at(i, j + 1) + at(i + 1, j + 1)) / 4 for j in columns] for i in rows])


def ms_ssim(x, y, data_range: float, scales: int) -> float:
    """Of two images `[c, h, w]`."""
    weights = WEIGHTS if scales == 5 else [weight / sum(WEIGHTS[:scales]) for weight in WEIGHTS[:scales]]
    channels = []
    for a, b in zip(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), strict=True):
        value = 1.0
        for scale, weight in enumerate(weights):
            structure, similarity = terms(a, b, data_range)
            value *= max(0.0, similarity if scale == scales - 1 else structure) ** weight
            a, b = halved(a), halved(b)
        channels.append(value)
    return float(np.mean(channels))
