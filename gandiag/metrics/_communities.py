"""Communities of a graph: groups of vertices with more edges among them than chance would put there.

The measure is modularity (Newman and Girvan 2004, arXiv:cond-mat/0308217): the share of edge weight within groups,
less what it would be if the same degrees were joined at random. It is climbed as in Blondel et al. 2008
(arXiv:0803.0476): vertices move to the neighbouring group that gains most, then whole groups move as if they were
vertices, then the vertices again from there. Only vertices whose neighbours have moved are looked at again (Traag et
al. 2019, arXiv:1810.08473). The climb ends on a hill near its start, so several are made and the highest is taken.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Partition: TypeAlias = NDArray[np.int64]
"""A group 0, 1, ... for each vertex, `[n]`."""

_GAIN = 1e-9  # smaller gains are rounding


def communities(graph: csr_matrix, *, climbs: int, rng: np.random.Generator) -> Partition:
    """The best of several climbs: labels `[n]` 0, 1, ... of the vertices of a symmetric graph `[n, n]`."""
    found = [_climb_to_the_top(graph, rng) for _ in range(climbs)]
    return max(found, key=lambda labels: modularity(graph, labels))


def modularity(graph: csr_matrix, labels: Partition) -> float:
    """Share of the weight within groups less that of a random graph with the same degrees; in [-1/2, 1)."""
    between = collapse(graph, labels).toarray()
    total = between.sum()
    return float(np.trace(between) / total - np.square(between.sum(axis=1) / total).sum())


def collapse(graph: csr_matrix, labels: Partition) -> csr_matrix:
    """The graph of groups `[k, k]`: the weight between each two, and twice the weight within each on the diagonal."""
    n = len(labels)
    members = csr_matrix((np.ones(n), (np.arange(n), labels)), shape=(n, int(labels.max()) + 1))
    return csr_matrix(members.T @ graph @ members)


def _climb_to_the_top(graph: csr_matrix, rng: np.random.Generator) -> Partition:
    labels = np.arange(graph.shape[0])
    height = -np.inf
    while True:
        higher = _climb(graph, labels, rng)
        if modularity(graph, higher) <= height + _GAIN:
            return labels
        labels, height = higher, modularity(graph, higher)


def _climb(graph: csr_matrix, labels: Partition, rng: np.random.Generator) -> Partition:
    moved = _move(graph, labels, rng)
    groups = int(moved.max()) + 1
    if groups == graph.shape[0]:
        return moved
    return _climb(collapse(graph, moved), np.arange(groups), rng)[moved]


def _move(graph: csr_matrix, labels: Partition, rng: np.random.Generator) -> Partition:
    """Move single vertices until none gains; plain lists, as indexing arrays one by one is slower."""
    starts, ends, weights = graph.indptr.tolist(), graph.indices.tolist(), graph.data.tolist()
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    total = float(degrees.sum())
    inside = np.bincount(labels, degrees, minlength=len(labels)).tolist()
    degree, group = degrees.tolist(), labels.tolist()

    waiting = deque(rng.permutation(len(group)).tolist())
    is_waiting = [True] * len(group)
    while waiting:
        vertex = waiting.popleft()
        is_waiting[vertex] = False
        home = group[vertex]
        links: dict[int, float] = {home: 0.0}
        edges = range(starts[vertex], starts[vertex + 1])
        for edge in edges:
            if ends[edge] != vertex:
                other = group[ends[edge]]
                links[other] = links.get(other, 0.0) + weights[edge]
        inside[home] -= degree[vertex]
        by_chance = degree[vertex] / total
        best, most = home, links[home] - by_chance * inside[home]
        for other, weight in links.items():
            gain = weight - by_chance * inside[other]
            if gain > most + _GAIN:
                best, most = other, gain
        inside[best] += degree[vertex]
        if best != home:
            group[vertex] = best
            for edge in edges:
                end = ends[edge]
                if group[end] != best and not is_waiting[end]:
                    is_waiting[end] = True
                    waiting.append(end)
    return np.unique(group, return_inverse=True)[1].astype(np.int64)
