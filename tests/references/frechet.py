"""Fréchet distance by the formula of the paper: with SciPy's general matrix square root, and in two surer ways."""

from __future__ import annotations

import mpmath
import numpy as np
from scipy.linalg import sqrtm


def frechet(real, fake) -> float:
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)
    a, b = np.atleast_2d(np.cov(real, rowvar=False)), np.atleast_2d(np.cov(fake, rowvar=False))
    gap = real.mean(axis=0) - fake.mean(axis=0)
    return float(gap @ gap + np.trace(a + b - 2 * np.real(sqrtm(a @ b))))


def careful_frechet(real, fake) -> float:
    """For many columns: no covariance is ever formed, so nothing is squared that is to be rooted again."""
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)
    a, b = (np.linalg.qr((x - x.mean(axis=0)) / np.sqrt(len(x) - 1), mode="r") for x in (real, fake))
    gap = real.mean(axis=0) - fake.mean(axis=0)
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(gap @ gap + (a**2).sum() + (b**2).sum() - 2 * shared)


def exact_frechet(real, fake) -> float:
    """With 60 digits, for a few columns: also right where covariances are singular, or as good as that."""
    with mpmath.workdps(60):
        (mean_r, cov_r), (mean_f, cov_f) = _gaussian(real), _gaussian(fake)
        values, vectors = mpmath.eigsy(cov_r)
        root = vectors * mpmath.diag([mpmath.sqrt(max(value, 0)) for value in values]) * vectors.T
        shared = sum(mpmath.sqrt(max(value, 0)) for value in mpmath.eigsy(root * cov_f * root, eigvals_only=True))
        gap = mean_r - mean_f
        traces = sum(cov_r[i, i] + cov_f[i, i] for i in range(cov_r.rows))
        return float((gap.T * gap)[0] + traces - 2 * shared)


def _gaussian(x):
    rows = mpmath.matrix(np.asarray(x, dtype=np.float64).tolist())
    n, d = rows.rows, rows.cols
    mean = mpmath.matrix([sum(rows[i, j] for i in range(n)) / n for j in range(d)])
    centred = mpmath.matrix([[rows[i, j] - mean[j] for j in range(d)] for i in range(n)])
    return mean, centred.T * centred / (n - 1)
