"""Near-duplicates, one pair of rows after the other."""

from __future__ import annotations

import numpy as np


def duplicates(real, fake, closeness: float) -> tuple[float, float]:
    """(share of fakes that repeat a fake, share that repeat a real)."""
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)

    def gaps(a, b, same):
        return [min(np.linalg.norm(x - y) for j, y in enumerate(b) if not (same and i == j)) for i, x in enumerate(a)]

    radius = closeness * np.median(gaps(real, real, True)) + 1e-9
    return float(np.mean(np.array(gaps(fake, fake, True)) <= radius)), float(
        np.mean(np.array(gaps(fake, real, False)) <= radius)
    )
