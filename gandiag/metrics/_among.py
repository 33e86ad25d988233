"""One set against itself: how far each row's nearest neighbours are, and what the kernel distance needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gandiag.metrics import _exact
from gandiag.metrics._kernel import Shifts, cubes
from gandiag.metrics._team import ALONE, Team
from gandiag.metrics._tiles import Block, Nearest, Rows, blocks, parts

_SPARE = 1
"""Neighbours kept beyond the k-th: which of two nearly equal ones is nearer is settled exactly among them."""

_FEW = 256  # rows whose kernel is taken at a time


@dataclass(frozen=True, eq=False)
class Among:
    """What a set says about itself.

    Attributes:
        distances: to each row's k nearest other rows, nearest first; exact but for uncertain rows.
        indices: of those rows.
        uncertain: rows whose neighbours rounding may have hidden.
        kernel: sum of the kernel over all other rows; None if it was not asked for.
    """

    distances: Float[Tensor, "n k"]
    indices: Int[Tensor, "n k"]
    uncertain: Bool[Tensor, " n"]
    kernel: Float[Tensor, " n"] | None

    @property
    def radii(self) -> Float[Tensor, " n"]:
        """The distance to the k-th nearest other row."""
        return self.distances[:, -1]

    @property
    def spacing(self) -> Float[Tensor, " n"]:
        """The distance to the nearest other row."""
        return self.distances[:, 0]

    def settled(self, x: Tensor, centre: Tensor) -> Among:
        """The same with the neighbours of uncertain rows found again in float64."""
        which = self.uncertain.nonzero().flatten()
        distances, indices = self.distances.clone(), self.indices.clone()
        if len(which):
            distances[which], indices[which] = _exact.nearest(x, which, x, distances.shape[1], centre=centre)
        return Among(distances, indices, torch.zeros_like(self.uncertain), self.kernel)


def among(
    x: Tensor,
    rows: Rows,
    k: int,
    *,
    shifts: Shifts | None = None,
    size: tuple[int, int] | None = None,
    team: Team = ALONE,
) -> Among:
    """Look at all pairs of one set.

    Args:
        x: the rows as they were given, `[n, d]`.
        rows: the same, centred and rounded, which the products are made of.
        k: neighbours to find, below n.
        shifts: of the kernel, if its sums are wanted.
        size: rows and columns of a block.
        team: who shares the pass.
    """
    n = len(x)
    found = Nearest(n, min(k + _SPARE, n - 1), rows.norms)
    kernel = None if shifts is None else torch.zeros(n, dtype=torch.float64, device=x.device)
    for block in blocks(rows, rows, size=size, share=(team.rank, team.size)):
        here, columns, _, d2 = block
        beyond = max(0, min(here.stop, columns.stop) - columns.start)
        right = slice(columns.start + beyond, columns.stop)
        found.see(here, d2, first=columns.start)
        if beyond < d2.shape[1]:
            found.see(right, d2[:, beyond:], first=here.start, dim=0)
        if kernel is not None and shifts is not None:
            _add_kernel(kernel, block, shifts, beyond)
    team.nearest(found)
    team.sum(kernel)
    return _settled(x, rows, found, k, kernel)


def _add_kernel(kernel: Tensor, block: Block, shifts: Shifts, beyond: int) -> None:
    """Sums over a block, which is overwritten, by a few rows at a time, so that they stay in a core's cache."""
    first, columns = block.rows.start, block.columns
    for rows in parts(block.rows.stop, _FEW, start=first):
        local = slice(rows.start - first, rows.stop - first)
        values = cubes(Block(rows, columns, block.number, block.d2[local]), shifts, shifts, block.d2[local])
        if beyond:
            values[:, local].diagonal().zero_()
        kernel[rows] += values.sum(dim=1)
        kernel[columns.start + beyond : columns.stop] += values[:, beyond:].sum(dim=0)


def _settled(x: Tensor, rows: Rows, found: Nearest, k: int, kernel: Tensor | None) -> Among:
    """Exact distances of the candidates, and whether any row outside them could be among the nearest k."""
    n = len(x)
    distances, indices = _exact.settle(x, torch.arange(n, device=x.device), x, found.indices, k)
    radii = distances[:, -1]
    if found.k == n - 1:
        uncertain = torch.zeros(n, dtype=torch.bool, device=x.device)
    else:
        uncertain = found.d2.amax(dim=1).double() - rows.rounding(radii) <= radii.square()
        uncertain |= rows.lost
    return Among(distances, indices, uncertain, kernel)
