"""What the modules about modes compute, by their definitions, row by row."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from scipy.stats import hypergeom


def modularity(graph, labels) -> float:
    """Newman and Girvan 2004: sum over pairs in one group of weight less what degrees alone would give, over all."""
    n, total = len(labels), sum(map(sum, graph))
    degrees = [sum(row) for row in graph]
    pairs = [(i, j) for i in range(n) for j in range(n) if labels[i] == labels[j]]
    return sum(graph[i][j] - degrees[i] * degrees[j] / total for i, j in pairs) / total


def jaccard(neighbours, i: int, j: int) -> float:
    """Neighbours that two rows share, over those of either; each row is one of its own."""
    a, b = {i, *neighbours[i]}, {j, *neighbours[j]}
    return len(a & b) / len(a | b)


def thickness(graph, labels, distances, a: int, b: int, *, errors: float) -> float:
    """Conductance of the cut between two groups, in the graph of these two alone, over that of a solid cube."""
    inside = [row for row in range(len(labels)) if labels[row] in (a, b)]
    cut = sum(graph[i][j] for i in inside for j in inside if labels[i] == a and labels[j] == b)
    volumes = [sum(graph[i][j] for i in inside if labels[i] == group for j in inside) for group in (a, b)]
    logs = [math.log(distances[i][-1] / d) for i in inside for d in distances[i][:-1] if d > 0]
    dimension = len(logs) / sum(logs)
    n, k = len(inside), len(distances[0])
    ball = math.pi ** (dimension / 2) / math.gamma(dimension / 2 + 1)
    radius = (min(1, k / n) / ball) ** (1 / dimension)
    cube = math.sqrt(2 / (math.pi * (dimension + 2))) * radius
    return cut / min(volumes) / cube / max(0.05, 1 - errors / math.sqrt(min(n, 2 * radius * n)))


def adjusted_p(reals, fakes, of_fakes: int) -> list[float]:
    """Fisher's test from the hypergeometric distribution; then Benjamini and Hochberg, from the largest p down."""
    p = []
    for real, fake in zip(reals, fakes, strict=True):
        law = hypergeom(sum(reals) + of_fakes, real + fake, of_fakes)
        chances = [law.pmf(count) for count in range(real + fake + 1)]
        p.append(min(1.0, sum(chance for chance in chances if chance <= law.pmf(fake) * (1 + 1e-7))))
    adjusted, smallest = [0.0] * len(p), 1.0
    for rank, index in sorted(enumerate(np.argsort(p), start=1), reverse=True):
        smallest = min(smallest, p[index] * len(p) / rank)
        adjusted[index] = smallest
    return adjusted


def spread(distances) -> float:
    """Root of the mean square of the smallest four fifths."""
    kept = sorted(distances)[: math.ceil(0.8 * len(distances))]
    return math.sqrt(sum(d * d for d in kept) / len(kept))


def middle_visits(real, fake, distances) -> float:
    """Share of the fakes whose nearest real is in the central half, over that of reals with another real."""
    central = distances <= np.median(distances)

    def near(row, skip=None) -> bool:
        others = [np.linalg.norm(row - other) if index != skip else math.inf for index, other in enumerate(real)]
        return bool(central[int(np.argmin(others))])

    ours = np.mean([near(row, skip=index) for index, row in enumerate(real)])
    return np.mean([near(row) for row in fake]) / ours


def colliding_pairs(fake, radius: float) -> list[tuple[int, int]]:
    """Pairs of rows that are no farther apart than the radius."""
    return [(i, j) for (i, a), (j, b) in combinations(enumerate(fake), 2) if math.dist(a, b) <= radius]


def triples(pairs, n: int) -> int:
    """Ordered triples of rows of which the first collides with both others."""
    near = {(i, j) for i, j in pairs} | {(j, i) for i, j in pairs}
    return sum((i, j) in near and (i, k) in near for i in range(n) for j in range(n) for k in range(n) if j != k)
