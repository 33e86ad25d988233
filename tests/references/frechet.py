"""Fréchet distance by the formula of the paper, with SciPy's general matrix square root."""

from __future__ import annotations

import numpy as np
from scipy.linalg import sqrtm


def frechet(real, fake) -> float:
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)
    a, b = np.atleast_2d(np.cov(real, rowvar=False)), np.atleast_2d(np.cov(fake, rowvar=False))
    gap = real.mean(axis=0) - fake.mean(axis=0)
    return float(gap @ gap + np.trace(a + b - 2 * np.real(sqrtm(a @ b))))
