"""Holm's adjustment from what it stands for: the closed test of all intersections."""

from __future__ import annotations

from itertools import combinations


def holm(p: dict[str, float]) -> dict[str, float]:
    """For each hypothesis, the largest Bonferroni p-value of any set of hypotheses that it is in."""
    names = list(p)
    sets = [chosen for size in range(1, len(names) + 1) for chosen in combinations(names, size)]
    return {
        name: max(min(1.0, len(chosen) * min(p[one] for one in chosen)) for chosen in sets if name in chosen)
        for name in names
    }
