"""Vendi score from the full n x n cosine kernel and its eigenvalues."""

from __future__ import annotations

import numpy as np


def vendi(x, q: float = 1.0) -> float:
    x = np.asarray(x, dtype=np.float64)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(x @ x.T / len(x))
    values = values[values > 1e-12]
    if q == 1:
        return float(np.exp(-(values * np.log(values)).sum()))
    if q == np.inf:
        return float(1 / values.max())
    return float((values**q).sum() ** (1 / (1 - q)))
