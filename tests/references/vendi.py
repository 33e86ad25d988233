"""Vendi score from the full n x n cosine kernel and its eigenvalues, in float64 and with 60 digits."""

from __future__ import annotations

import mpmath
import numpy as np

RESOLUTION = 1e-13  # a share below it is a rounding of nothing, see `gandiag.metrics.vendi`


def vendi(x, q: float = 1.0) -> float:
    x = np.asarray(x, dtype=np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    x = x[norms[:, 0] > 0] / norms[norms[:, 0] > 0]  # a row of zeros has no cosine with anything
    if len(x) == 0:
        return 1.0
    values = np.linalg.eigvalsh(x @ x.T / len(x))
    values = values[values > RESOLUTION]
    if q == 1:
        return float(np.exp(-(values * np.log(values)).sum()))
    if q == np.inf:
        return float(1 / values.max())
    return float((values**q).sum() ** (1 / (1 - q)))


def exact_vendi(x, q: float = 1.0) -> float:
    """For a few rows: the same where float64 would not tell shares of 1e-12 apart from its own rounding."""
    with mpmath.workdps(60):
        rows = [[mpmath.mpf(value) for value in row] for row in np.asarray(x, dtype=np.float64).tolist() if any(row)]
        units = [[value / mpmath.norm(row) for value in row] for row in rows]
        kernel = mpmath.matrix([[mpmath.fdot(a, b) / len(rows) for b in units] for a in units])
        values = [value for value in mpmath.eigsy(kernel, eigvals_only=True) if value > RESOLUTION]
        if q == 1:
            return float(mpmath.exp(-sum(value * mpmath.log(value) for value in values)))
        if q == np.inf:
            return float(1 / max(values))
        return float(sum(value ** mpmath.mpf(q) for value in values) ** (1 / (1 - mpmath.mpf(q))))
