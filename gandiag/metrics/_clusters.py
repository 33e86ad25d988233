"""Modes of unlabelled data: communities of the nearest-neighbour graph, joined where no thin cut parts them.

Clustering in the embedding itself (HDBSCAN, Gaussian mixtures) finds Gaussian modes and fails on real images; the
graph of nearest neighbours works on both. Two steps, as neither is enough alone:

1. The communities of the graph follow the modes' borders well. But a single piece of data has communities, too.
2. So two communities stay apart only if the cut between them is much thinner than one through a piece of data would
   be (`_cuts`). That is asked in the graph of *shared* neighbours: rows on either side of a gap may be each other's
   neighbours for want of nearer ones, but they have few neighbours in common.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from gandiag.metrics._communities import Partition, collapse, communities
from gandiag.metrics._cuts import Array, Groups, border_thickness
from gandiag.metrics._moments import mean_of
from gandiag.metrics._tiles import Rows, nearest

THIN = 0.58
"""A cut thinner than this part of the cube's separates modes. docs/reference/metrics/modes.md has the measurements."""

SMALLEST_SHARE = 0.01
"""No mode has less than this share of the data ..."""
SMALLEST = 10
"""... nor fewer rows ..."""
SMALLEST_NEIGHBOURS = 1.5
"""... nor, where edges join it to others, fewer than so many times the neighbours of a row. Among as few rows as a row
has neighbours, all have some outside, and nothing can be said of the border."""

MOST = 5000
"""Rows that are clustered; of more, a random part is, and the others follow their nearest clustered row."""

_CLIMBS = 4
"""One climb agrees with the classes of 1,000 digits to .862 (adjusted Rand index, 25 draws), the best of four and of
twelve to .867."""
_SCALE = 7  # the neighbour that gives a row's scale, as Zelnik-Manor and Perona have it
_ROUNDS = 20  # of the final vote: far more than it takes, so that two equal sides cannot swap rows for ever


def neighbours_of(n: int) -> int:
    """How many neighbours each of `n` rows has in the graph.

    log n keep one piece of data connected, and the rest is room to spare. More would join groups too small to be a
    mode, which have not so many rows, to modes far away.
    """
    return round(2.5 * math.log(n))


def clusters(x: torch.Tensor, *, seed: int) -> Partition:
    """Labels `[n]` of rows `[n, d]`: 0 for the largest mode, and so on; -1 for rows in no mode."""
    centre = mean_of(x)
    rng = np.random.default_rng(seed)
    if len(x) <= MOST:
        return _split(Rows.of(x, centre=centre, dtype=torch.float64), rng)
    chosen = torch.from_numpy(np.sort(rng.choice(len(x), MOST, replace=False))).to(x.device)
    some = Rows.of(x[chosen], centre=centre, dtype=torch.float64)
    labels = _split(some, rng)
    every = Rows.late(x, centre=centre, dtype=torch.float64)
    leaders = nearest(every, some, 1)[1][:, 0].cpu().numpy()
    return np.asarray(labels[leaders])


def _split(rows: Rows, rng: np.random.Generator) -> Partition:
    n = len(rows.x)
    k = neighbours_of(n)
    smallest = max(SMALLEST, round(SMALLEST_SHARE * n))
    if n < 2 * smallest:
        return np.zeros(n, dtype=np.int64)
    distances, neighbours = (part.cpu().numpy() for part in nearest(rows, rows, k))
    # A square root makes much of little: copies would seem to have a spacing.
    distances[distances**2 <= rows.rounding(torch.zeros_like(rows.norms)).cpu().numpy()[:, None]] = 0

    near = _symmetric(neighbours, np.ones(neighbours.shape))
    close = _symmetric(neighbours, _closeness(distances, neighbours))
    labels = communities(close, climbs=_CLIMBS, rng=rng)
    labels = _absorb(close, labels, max(smallest, int(SMALLEST_NEIGHBOURS * k)))
    labels = _join(Groups.of(_shared(near, neighbours), labels, distances), labels)
    return _largest_first(_vote(close, labels), smallest)


def _symmetric(neighbours: NDArray[np.int64], weights: Array) -> csr_matrix:
    """The graph with an edge to each neighbour; mutual ones get the mean of both weights, others half of theirs."""
    n, k = neighbours.shape
    ends = np.arange(n).repeat(k), neighbours.ravel()
    directed = csr_matrix((weights.ravel(), ends), shape=(n, n))
    return csr_matrix((directed + directed.T) / 2)


def _closeness(distances: Array, neighbours: NDArray[np.int64]) -> Array:
    """Weights exp(-d² / (s t)) in (0, 1], with s and t the distances of both rows to their seventh neighbour.

    Source: Zelnik-Manor and Perona 2004. The scale is each row's own, so that dense modes do not swallow sparse ones.
    """
    scales = distances[:, min(_SCALE, distances.shape[1]) - 1]
    apart = np.where(distances > 0, distances, np.inf).min(axis=1)  # a row with seven copies: its nearest other row
    scales = np.where(scales > 0, scales, np.where(np.isfinite(apart), apart, 1.0))
    return np.asarray(np.exp(-(distances**2) / (scales[:, None] * scales[neighbours])))


def _shared(near: csr_matrix, neighbours: NDArray[np.int64]) -> csr_matrix:
    """The same edges, each with the Jaccard index of the two neighbourhoods, the rows themselves included."""
    n, k = neighbours.shape
    ends = np.arange(n).repeat(k + 1), np.c_[np.arange(n), neighbours].ravel()
    members = csr_matrix((np.ones(n * (k + 1)), ends), shape=(n, n))
    edges = near.tocoo()
    both = np.asarray(members[edges.row].multiply(members[edges.col]).sum(axis=1)).ravel()
    return csr_matrix((both / (2 * (k + 1) - both), (edges.row, edges.col)), shape=(n, n))


def _absorb(graph: csr_matrix, labels: Partition, smallest: int) -> Partition:
    """Give groups that are too small to the group that most edges join them to, the smallest first."""
    while True:
        weights = collapse(graph, labels).toarray()
        np.fill_diagonal(weights, 0)
        sizes = np.bincount(labels)
        small = np.flatnonzero((sizes < smallest) & (weights.sum(axis=1) > 0))
        if len(small) == 0:
            return labels
        one = small[sizes[small].argmin()]
        labels = np.where(labels == one, weights[one].argmax(), labels)
        labels = np.unique(labels, return_inverse=True)[1]


def _join(communities: Groups, labels: Partition) -> Partition:
    """Join communities two by two, those with the thickest cut between them first, then part them again at thin cuts.

    What was joined last is parted first, and what a thick cut runs through is parted no further: below it a cut may
    be thin by chance, as long as the rest of the same mode is not there to hold its two sides together.
    """
    parts = [[community] for community in range(len(communities.sizes))]
    joins = []
    while len(parts) > 1:
        thickness = communities.gathered(parts).thickness()
        np.fill_diagonal(thickness, -1)
        a, b = sorted(int(index) for index in np.unravel_index(thickness.argmax(), thickness.shape))
        joins.append((max(thickness[a, b], border_thickness(communities, parts[a], parts[b])), parts[a], parts[b]))
        parts[a] = parts[a] + parts.pop(b)

    mode = np.zeros(len(communities.sizes), dtype=np.int64)
    whole = np.zeros(len(mode), dtype=bool)
    for thickest, one, other in reversed(joins):
        if thickest > THIN:
            whole[one + other] = True
        elif not whole[one[0]]:
            mode[other] = mode.max() + 1
    return np.asarray(mode[labels])


def _vote(graph: csr_matrix, labels: Partition) -> Partition:
    """Give each row the label that its neighbours have, by weight, until no row changes; ties change nothing."""
    rows = np.arange(len(labels))
    for _ in range(_ROUNDS):
        members = csr_matrix((np.ones(len(rows)), (rows, labels)), shape=(len(rows), int(labels.max()) + 1))
        votes = (graph @ members).toarray()
        winners = votes.argmax(axis=1)
        changed = votes[rows, winners] > votes[rows, labels] + 1e-9
        if not changed.any():
            break
        labels = np.where(changed, winners, labels)
    return labels


def _largest_first(labels: Partition, smallest: int) -> Partition:
    """Partition by falling size, equal sizes by their first row; -1 for groups that nothing joins to a mode."""
    ids, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    rank = np.full(int(ids.max()) + 1, -1, dtype=np.int64)
    order = ids[np.lexsort((first, -sizes))]
    kept = order[np.isin(order, ids[sizes >= smallest])]
    rank[kept] = np.arange(len(kept))
    return np.asarray(rank[labels])
