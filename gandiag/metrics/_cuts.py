"""How thin the cut between two groups of rows is, compared with a cut through one piece of data.

Any piece of data can be cut in two. A cut's *conductance* is the share of the smaller half's edges that cross it. It
is compared with that of the middle cut of a solid cube of data: one with the same number of points, neighbours, and
intrinsic dimension. Only a cut that is much thinner separates modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import gammaln

from gandiag.metrics._communities import Partition, collapse

Array: TypeAlias = NDArray[np.float64]

ERRORS = 3.0
"""A cut that crosses few rows is thin by chance: in one dimension any wide gap between two rows makes one. Of the many
cuts that there are the thinnest is found, so three standard errors, 1 / sqrt(rows at the cut), are allowed for."""

BORDER = 0.1
"""Part of a cut's edges that must end in a group for it to lie at the cut."""

_LEAST = 0.05  # part of the cube's conductance that is left by that: with a handful of rows it would be less than none


class Groups(NamedTuple):
    """What it takes to compare every two of `k` groups; sums all of them, so that groups are joined by adding.

    Attributes:
        weights: `[k, k]` edge weight between each two, and twice that within each on the diagonal.
        sizes: `[k]` rows in each.
        logs: `[k]` sum of log(distance to the last neighbour / distance to another) over rows and their neighbours.
        terms: `[k]` how many such logarithms there are.
        neighbours: how many neighbours each row has.
    """

    weights: Array
    sizes: Array
    logs: Array
    terms: Array
    neighbours: int

    @classmethod
    def of(cls, graph: csr_matrix, labels: Partition, distances: Array) -> Groups:
        """Sum over the groups of a graph `[n, n]`; `distances` `[n, k]` to the nearest neighbours are ascending."""
        logs, terms = _log_ratios(distances)
        return cls(
            weights=collapse(graph, labels).toarray(),
            sizes=np.bincount(labels).astype(np.float64),
            logs=np.asarray(np.bincount(labels, logs), dtype=np.float64),
            terms=np.asarray(np.bincount(labels, terms), dtype=np.float64),
            neighbours=distances.shape[1],
        )

    def gathered(self, parts: Sequence[Sequence[int]]) -> Groups:
        """The groups in each part taken together; those in no part are left out."""
        add = np.zeros((len(parts), len(self.sizes)))
        for index, part in enumerate(parts):
            add[index, list(part)] = 1
        weights = add @ self.weights @ add.T
        return Groups(weights, add @ self.sizes, add @ self.logs, add @ self.terms, self.neighbours)

    def thickness(self) -> Array:
        """`[k, k]` conductance of the cut between each two groups alone, over the cube's; 0 on the diagonal."""
        within = np.diag(self.weights)
        volumes = within[:, None] + self.weights  # of a group in the graph of it and one other group
        cut = self.weights - np.diag(within)
        conductance = cut / np.maximum(np.minimum(volumes, volumes.T), np.finfo(np.float64).tiny)
        sizes = self.sizes[:, None] + self.sizes
        logs, terms = self.logs[:, None] + self.logs, self.terms[:, None] + self.terms
        dimensions = np.where(logs > 0, terms / np.where(logs > 0, logs, 1), 1.0)  # copies of a point: it has no parts
        of_cube, rows = cube_cut(sizes, self.neighbours, dimensions)
        return np.asarray(conductance / of_cube / np.maximum(1 - ERRORS / np.sqrt(rows), _LEAST))


def border_thickness(groups: Groups, one: Sequence[int], other: Sequence[int]) -> float:
    """Thickness of the cut between two parts, of only those of their groups that lie at it.

    A long strip has no thick cut across, compared with its length; but what is near the cut is as long as it is wide.
    """
    crossing = groups.weights[np.ix_(one, other)]
    if crossing.sum() == 0:
        return 0.0
    shares = crossing.sum(axis=1) / crossing.sum(), crossing.sum(axis=0) / crossing.sum()
    near = [
        [group for group, share in zip(part, side, strict=True) if share >= min(BORDER, side.max())]
        for part, side in zip((one, other), shares, strict=True)
    ]
    return float(groups.gathered(near).thickness()[0, 1])


def cube_cut(n: Array, k: int, dimension: Array) -> tuple[Array, Array]:
    """The middle cut of `n` points that fill a unit cube evenly, each joined to its `k` nearest.

    Neighbours lie in a ball of volume k / n. The cut meets an edge with the probability of the edge's extent across
    it, which is `sqrt(2 / (pi (d + 2)))` of the ball's radius on average (taking that extent as normal).

    Returns:
        Its conductance, and how many points lie within a ball's radius of it.
    """
    log_unit_ball = 0.5 * dimension * np.log(np.pi) - gammaln(0.5 * dimension + 1)
    radius = np.exp((np.log(np.minimum(1, k / n)) - log_unit_ball) / dimension)
    return np.sqrt(2 / (np.pi * (dimension + 2))) * radius, np.minimum(n, 2 * radius * n)


def _log_ratios(distances: Array) -> tuple[Array, Array]:
    """For each row the sum over its neighbours of log(distance to the last / distance to this one), and how many.

    Their mean is one over the intrinsic dimension: Levina and Bickel 2004, pooled over rows as MacKay and Ghahramani
    2005 correct it. Copies of the row have none.
    """
    last, others = distances[:, -1:], distances[:, :-1]
    apart = others > 0
    ratios = np.log(
        np.broadcast_to(last, others.shape) / np.where(apart, others, 1), where=apart, out=np.zeros(others.shape)
    )
    return ratios.sum(axis=1), apart.sum(axis=1).astype(np.float64)
