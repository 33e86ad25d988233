"""Modes of unlabelled data: cut the nearest-neighbour graph where it is much thinner than one piece of data would be.

Clustering in the embedding itself (HDBSCAN, Gaussian mixtures) finds Gaussian modes and fails on real images; the
graph of nearest neighbours works on both. So the graph is cut in two along its Fiedler vector (Shi and Malik 2000),
and the halves again, until no cut is left that tells two modes apart.

What tells them apart is a null, too. Any piece of data can be cut in two. A cut's *conductance*, the share of a
half's edges that cross it, is compared with what the middle cut of a solid cube of data would have: one of the same
number of points, neighbours, and intrinsic dimension. Only a cut that is much thinner separates modes.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from scipy.special import gammaln

from gandiag.metrics._tiles import Rows, nearest

THIN = 1 / 3
"""A cut thinner than this part of the null's separates modes. In the 8x8 digits, cuts between classes measure 0.05 to
0.27 and cuts inside a class 0.42 to 1.3; blobs measure 1.2 and more, and a Swiss roll, which is long, 0.37 to 0.58."""

SMALLEST_SHARE = 0.01
"""No mode has less than this share of the data ..."""
SMALLEST = 10
"""... nor fewer rows: with less, a Fiedler cut finds stragglers instead of modes."""

MOST = 5000
"""Rows that are clustered; of more, a random part is, and the others follow their nearest clustered row."""

_DENSE = 400  # below it, all eigenvectors of a dense matrix come faster than one of a sparse matrix


def clusters(x: torch.Tensor, *, seed: int) -> NDArray[np.int64]:
    """Labels `[n]` of rows `[n, d]`: 0 for the largest mode, and so on; -1 for rows in no mode."""
    rows = Rows.of(x, centre=x.mean(dim=0, dtype=torch.float64), dtype=torch.float64)
    rng = np.random.default_rng(seed)
    if len(x) <= MOST:
        return _split(rows, rng)
    chosen = torch.from_numpy(np.sort(rng.choice(len(x), MOST, replace=False))).to(x.device)
    some = Rows(rows.x[chosen], rows.norms[chosen])
    labels = _split(some, rng)
    leaders = nearest(rows, some, 1)[1][:, 0].cpu().numpy()
    return np.asarray(labels[leaders])


def _split(rows: Rows, rng: np.random.Generator) -> NDArray[np.int64]:
    n = len(rows.x)
    smallest = max(SMALLEST, round(SMALLEST_SHARE * n))
    if n < 2 * smallest:
        return np.zeros(n, dtype=np.int64)
    k = round(2 * np.log(n))  # log n neighbours keep one piece of data connected; twice that, with room to spare
    distances, neighbours = (part.cpu().numpy() for part in nearest(rows, rows, k))
    graph = _symmetric(neighbours)

    waiting = _components(graph, np.arange(n), smallest)
    modes = []
    while waiting:
        piece = waiting.pop()
        halves = _halves(graph[piece][:, piece], smallest, rng) if len(piece) >= 2 * smallest else None
        if halves is not None and halves[0] < THIN * _cube_conductance(len(piece), k, _dimension(distances[piece])):
            # The two sides of a cut need not hang together themselves.
            for side in halves[1:]:
                waiting += _components(graph, piece[side], smallest)
        else:
            modes.append(piece)

    labels = np.full(n, -1, dtype=np.int64)
    for label, piece in enumerate(sorted(modes, key=lambda piece: (-len(piece), piece.min()))):
        labels[piece] = label
    return labels


def _symmetric(neighbours: NDArray[np.int64]) -> csr_matrix:
    """The graph with an edge of weight 1 between mutual neighbours and 1/2 between one-sided ones."""
    n, k = neighbours.shape
    ends = np.arange(n).repeat(k), neighbours.ravel()
    directed = csr_matrix((np.ones(n * k), ends), shape=(n, n))
    return csr_matrix((directed + directed.T) / 2)


def _components(graph: csr_matrix, piece: NDArray[np.int64], smallest: int) -> list[NDArray[np.int64]]:
    """The parts of `piece` that no edge joins; smaller ones than a mode are dropped."""
    _, labels = connected_components(graph[piece][:, piece], directed=False)
    return [piece[labels == label] for label in np.flatnonzero(np.bincount(labels) >= smallest)]


def _halves(
    graph: csr_matrix, smallest: int, rng: np.random.Generator
) -> tuple[float, NDArray[np.int64], NDArray[np.int64]] | None:
    """The best cut along the Fiedler vector: its conductance, and the vertices on either side."""
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    order = np.argsort(_fiedler(graph, degrees, rng), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))

    # An edge is cut by every threshold between the places of its ends: +1 where it begins, -1 where it ends.
    edges = graph.tocoo()
    first, last = np.minimum(place[edges.row], place[edges.col]), np.maximum(place[edges.row], place[edges.col])
    steps = np.bincount(first, edges.data, len(order)) - np.bincount(last, edges.data, len(order))
    cut = np.cumsum(steps)[:-1] / 2  # each edge is stored in both directions
    volume = np.cumsum(degrees[order])[:-1]
    conductance = cut / np.minimum(volume, degrees.sum() - volume)
    allowed = slice(smallest - 1, len(order) - smallest)
    best = smallest - 1 + int(np.argmin(conductance[allowed]))
    return float(conductance[best]), order[: best + 1], order[best + 1 :]


def _fiedler(graph: csr_matrix, degrees: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The slowest way for heat to even out over a connected graph: its signs are the graph's two halves."""
    scale = 1 / np.sqrt(degrees)
    normal = diags(scale) @ graph @ diags(scale)
    if len(degrees) > _DENSE:
        start = rng.uniform(-1, 1, len(degrees))  # else ARPACK draws from NumPy's global stream
        try:
            values, vectors = eigsh(normal, k=2, which="LA", v0=start, tol=1e-3, maxiter=20_000)
            return np.asarray(vectors[:, np.argmin(values)] * scale)
        except ArpackNoConvergence:
            pass  # two eigenvalues that nearly agree: the dense way is slow and sure
    return np.asarray(np.linalg.eigh(normal.toarray())[1][:, -2] * scale)


def _cube_conductance(n: int, k: int, dimension: float) -> float:
    """Conductance of the middle cut of `n` points that fill a unit cube evenly, each joined to its `k` nearest.

    Neighbours lie in a ball of volume k / n. The cut meets an edge with the probability of the edge's extent across
    it, which is `sqrt(2 / (pi (d + 2)))` of the ball's radius on average (taking that extent as normal).
    """
    log_unit_ball = 0.5 * dimension * np.log(np.pi) - gammaln(0.5 * dimension + 1)
    radius = np.exp((np.log(k / n) - log_unit_ball) / dimension)
    return float(np.sqrt(2 / (np.pi * (dimension + 2))) * radius)


def _dimension(distances: NDArray[np.float64]) -> float:
    """Intrinsic dimension from distances to neighbours `[n, k]`, ascending.

    Source: Levina and Bickel 2004, pooled over points as MacKay and Ghahramani 2005 correct it: the mean of the
    logarithm of (distance to the last neighbour / distance to another) is one over the dimension.
    """
    last, others = distances[:, -1:], distances[:, :-1]
    ratios = np.log(np.broadcast_to(last, others.shape)[others > 0] / others[others > 0])
    return float(1 / ratios.mean()) if ratios.sum() > 0 else 1.0  # nothing but copies: a point has no parts
