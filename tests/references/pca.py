"""Principal components from the covariance matrix, as textbooks have it."""

from __future__ import annotations

import numpy as np


def principal(x, most: int, share: float):
    """(mean [d], components [k, d], share of the variance that they hold), in float64."""
    x = np.asarray(x, dtype=np.float64)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(x, rowvar=False)))
    order = np.argsort(-values)
    values, vectors = np.clip(values[order], 0, None), vectors[:, order]
    kept = []
    for column in range(min(most, len(x) - 1, x.shape[1])):
        if sum(values[:column]) >= share * sum(values):
            break
        component = vectors[:, column]
        kept.append(component * np.sign(component[np.argmax(np.abs(component))]))
    return x.mean(axis=0), np.array(kept), float(sum(values[: len(kept)]) / sum(values))
