"""Distances between all rows of two sets, one tile of rows at a time: the only place that makes them.

`|a - b|² = |a|² + |b|² - 2 a·b` turns N² distances into one matrix product, which is as fast as the machine
gets, but it subtracts large numbers from each other. Three habits keep the answer right:

- the rows are centred first, so that a constant offset of the embedding costs no digits;
- a row's distance to itself is masked by its *index*; it is never assumed to be the smallest one, which it is
  not where rows repeat, or where rounding made it positive;
- comparisons get a `slack` as wide as the rounding of the product, so that `<=` holds for true ties.

Memory is O(tile x n); nothing of size n x n ever exists. No loop reads a value back from the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

TILE = 1024
"""Rows a tile: large enough that the product runs at full speed, 40 MB at n = 10,000 in float32."""

_SLACK = 16.0  # in units of the dtype's epsilon; seen at most 9, over copies of d = 1..2048


class Rows(NamedTuple):
    """Centred rows and their squared norms."""

    x: Float[Tensor, "n d"]
    norms: Float[Tensor, " n"]

    @classmethod
    def of(cls, x: Tensor, *, centre: Tensor, dtype: torch.dtype, tile: int = TILE) -> Rows:
        """Subtract `centre` `[d]` (float64) from `x` `[n, d]` in float64, then round once, to `dtype`."""
        shifted = torch.empty(x.shape, dtype=dtype, device=x.device)
        for part in _parts(len(x), tile):
            shifted[part] = (x[part].double() - centre).to(dtype)
        return cls(shifted, shifted.square().sum(dim=1))


def squared_distances(a: Rows, b: Rows, *, tile: int = TILE, slack: bool = False) -> Iterator[tuple[slice, Tensor]]:
    """Yield `(rows, d2)`: a slice of `a`'s rows and their squared distances to all of `b`, `[rows, m]`.

    Where `a` is `b`, a row's distance to itself is infinite. With `slack`, each distance is smaller by what
    rounding may have added to it. Each tile may be overwritten by who receives it.
    """
    shrink = 1.0 - _SLACK * torch.finfo(a.x.dtype).eps if slack else 1.0
    for part in _parts(len(a.x), tile):
        d2 = torch.addmm(b.norms * shrink, a.x[part], b.x.T, alpha=-2).add_(a.norms[part, None] * shrink)
        if a is b:
            d2[:, part].diagonal().fill_(torch.inf)
        yield part, d2


def squared_radii(rows: Rows, k: int, *, tile: int = TILE) -> Float[Tensor, " n"]:
    """The squared distance from each row to its k-th nearest other row."""
    radii = torch.empty_like(rows.norms)
    for part, d2 in squared_distances(rows, rows, tile=tile):
        # unsorted: the largest of the k smallest is all that is asked, and 3 times faster than a k-th value
        radii[part] = d2.topk(k, dim=1, largest=False, sorted=False).values.amax(dim=1)
    return radii


def nearest(a: Rows, b: Rows, k: int, *, tile: int = TILE) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """Distances (not squared) and indices of the `k` nearest rows of `b`, nearest first; never the row itself."""
    distances = torch.empty(len(a.x), k, dtype=a.x.dtype, device=a.x.device)
    indices = torch.empty(len(a.x), k, dtype=torch.int64, device=a.x.device)
    for part, d2 in squared_distances(a, b, tile=tile):
        smallest = d2.topk(k, dim=1, largest=False, sorted=True)
        distances[part], indices[part] = smallest.values.clamp_(min=0).sqrt_(), smallest.indices
    return distances, indices


def _parts(n: int, tile: int) -> Iterator[slice]:
    for start in range(0, n, tile):
        yield slice(start, min(start + tile, n))
