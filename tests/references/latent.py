"""The mode seeking ratio and what it is relative to, over all pairs, one after the other."""

from __future__ import annotations

from itertools import combinations

import numpy as np


def distance(a, b, order: float) -> float:
    """A power mean of the coordinates' differences."""
    gaps = np.abs(np.ravel(a).astype(float) - np.ravel(b).astype(float))
    return float(gaps.max()) if order == np.inf else float(np.mean(gaps**order) ** (1 / order))


def typical(x, order: float) -> float:
    return float(np.mean([distance(a, b, order) for a, b in combinations(x, 2)]))


def latent_sensitivity(z, outputs, labels=None, reference=None, order: float = 1.0) -> tuple[float, float]:
    """The ratio and the relative value."""
    labels = np.zeros(len(z)) if labels is None else labels
    ratios = [
        distance(outputs[i], outputs[j], order) / distance(z[i], z[j], order)
        for i, j in combinations(range(len(z)), 2)
        if labels[i] == labels[j]
    ]
    ratio = float(np.mean(ratios))
    unrelated = typical(outputs if reference is None else reference, order)
    return ratio, ratio / (unrelated / typical(z, order))
