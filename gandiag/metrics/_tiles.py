"""Squared distances between the rows of two sets, one block at a time: the only place that makes them.

`|a - b|² = |a|² + |b|² - 2 a·b` turns n x m distances into one matrix product, which is as fast as the machine
gets, but it subtracts large numbers from each other. Three habits keep the answer right:

- the rows are centred first, so that a constant offset of the embedding costs no digits;
- a row's distance to itself is masked by its *index*; it is never assumed to be the smallest one, which it is
  not where rows repeat, or where rounding made it positive;
- what rounding can have done to a distance is known (`Rows.rounding`), so that who decides by a distance can tell
  the decisions that are certain from the few that are to be made again, exactly (`_exact.py`).

Blocks are small enough to stay in a core's cache while they are looked at: in memory of size n x m, five looks cost
more than the product itself. A set's distances to itself are symmetric, so only half of them are made. No loop reads
a value back from the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ROUNDING = 16.0
"""Units of the dtype's epsilon, of the squared norms, by which a squared distance may be wrong: seen are at most 9,
over copies of d = 1..2048."""

FAR = {torch.float32: 1e30, torch.float64: 1e300}
"""The largest squared norm of a row: of larger ones, differences would be NaN and hide the row's neighbours."""

TILE = 1024
"""Rows taken at a time where a pass is not needed."""


class Rows(NamedTuple):
    """Centred rows and their squared norms.

    Attributes:
        x: the rows; centred, or as they were given if there is a centre.
        norms: the squared norms of the centred rows, in the dtype that products are made in.
        centre: what is to be subtracted whenever rows are used, None if it has been.
    """

    x: Float[Tensor, "n d"]
    norms: Float[Tensor, " n"]
    centre: Float[Tensor, " d"] | None = None

    @classmethod
    def of(cls, x: Tensor, *, centre: Tensor, dtype: torch.dtype, tile: int = 1024) -> Rows:
        """Subtract `centre` `[d]` (float64) from `x` `[n, d]` once and for all, rounded once, to `dtype`."""
        late = cls.late(x, centre=centre, dtype=dtype, tile=tile)
        shifted = torch.empty(x.shape, dtype=dtype, device=x.device)
        for part in parts(len(x), tile):
            shifted[part] = late.part(part)
        return cls(shifted, late.norms)

    @classmethod
    def late(cls, x: Tensor, *, centre: Tensor, dtype: torch.dtype, tile: int = 1024) -> Rows:
        """The same without a copy of the rows: part by part, at some hundredth of what the products cost."""
        # From float32 rows a float32 centre is subtracted with a single rounding, as if in float64.
        at_once = dtype == x.dtype == torch.float32 and bool((centre == centre.float()).all())
        rows = cls(x, torch.empty(len(x), dtype=dtype, device=x.device), centre.float() if at_once else centre)
        for part in parts(len(x), tile):
            centred = rows.part(part)
            rows.norms[part] = torch.linalg.vecdot(centred, centred)
        rows.norms.masked_fill_(~(rows.norms < FAR[dtype]), FAR[dtype])
        return rows

    def part(self, which: slice) -> Float[Tensor, "r d"]:
        """Some rows, centred."""
        if self.centre is None:
            return self.x[which]
        # Coordinates of rows that are lost must not overflow in products.
        edge = FAR[self.norms.dtype] ** 0.5
        rows = self.x[which].to(self.centre.dtype) - self.centre
        return rows.clamp_(-edge, edge).to(self.norms.dtype)

    @property
    def lost(self) -> Bool[Tensor, " n"]:
        """Rows whose squares leave the dtype: they stand where no other row does, and are asked about exactly."""
        return self.norms >= FAR[self.norms.dtype]

    def rounding(self, radii: Tensor) -> Float[Tensor, " n"]:
        """How far a squared distance near `radii` `[n]`, from each row, may be from the truth; float64.

        Another row at that distance has a norm of at most `|a| + radius`; rows that are farther out have distances
        so large that their larger error does not matter.
        """
        norms, limits = self.norms.double(), torch.finfo(self.norms.dtype)
        # Where squares are too small for the dtype, nothing is certain.
        return ROUNDING * (limits.eps * (norms + (norms.sqrt() + radii).square()) + self.x.shape[1] * limits.tiny)


class Block(NamedTuple):
    """Squared distances between some rows of one set and some of the other."""

    rows: slice
    columns: slice
    number: int
    d2: Float[Tensor, "r c"]


def block_size(device: torch.device) -> tuple[int, int]:
    """Rows and columns of a block that neighbours are chosen from: the larger, the fewer choices."""
    return (2048, 2048) if device.type == "cpu" else (4096, 16384)


def small_block_size(device: torch.device) -> tuple[int, int]:
    """The same of a block that is looked at many times, and so should stay in a core's own cache."""
    return (512, 1024) if device.type == "cpu" else (4096, 16384)


def blocks(
    a: Rows, b: Rows, *, size: tuple[int, int] | None = None, share: tuple[int, int] = (0, 1)
) -> Iterator[Block]:
    """All blocks of distances from `a` to `b`; where both are one, only those on and above the diagonal.

    Of a share `(r, s)` only each s-th row of blocks, from the r-th on.

    Each block lies in the same memory as the one before and may be overwritten by who receives it. Columns are
    numbered from 0 on within a row of blocks. On the diagonal distances are infinite, and a block that
    crosses it holds each pair in it twice.
    """
    tall, wide = size or block_size(a.x.device)
    wide = max(tall, wide)  # so that the diagonal never leaves the first block of a row of blocks
    buffer = a.norms.new_empty(min(tall, len(a.x)) * min(wide, len(b.x)))
    with exact_products():
        for rows in list(parts(len(a.x), tall))[share[0] :: share[1]]:
            ours = a.part(rows)
            for number, columns in enumerate(parts(len(b.x), wide, start=rows.start if a is b else 0)):
                shape = rows.stop - rows.start, columns.stop - columns.start
                d2 = buffer[: shape[0] * shape[1]].view(shape)
                torch.addmm(b.norms[columns], ours, b.part(columns).T, alpha=-2, out=d2)
                d2.add_(a.norms[rows, None])
                if a is b and number == 0:
                    d2.diagonal().fill_(torch.inf)
                yield Block(rows, columns, number, d2)


def smallest(d2: Float[Tensor, "r c"], k: int, *, dim: int = 1) -> tuple[Float[Tensor, "x k"], Int[Tensor, "x k"]]:
    """The `k` smallest of each row (`dim=1`) or column (`dim=0`) and where they are, in no order.

    The k smallest numbers lie in the k groups with the smallest minima. Minima of groups are found at the speed of
    memory, so that only a few numbers of each row are left to choose among.
    """
    length = d2.shape[dim]
    group = _group(length, k)
    if group == 1:
        found = d2.topk(k, dim=dim, largest=False, sorted=False)
        return (found.values, found.indices) if dim == 1 else (found.values.T, found.indices.T)
    groups = length // group
    grouped, rest = groups * group, length - groups * group
    # A group is a set of entries that lie `groups` apart: so each minimum is taken over whole vectors.
    if dim == 1:
        head = d2[:, :grouped].view(len(d2), group, groups)
        best = head.amin(dim=1).topk(k, dim=1, largest=False, sorted=False).indices
        values = head.gather(2, best[:, None, :].expand(-1, group, -1)).flatten(1)
    else:
        head = d2[:grouped].view(group, groups, d2.shape[1])
        best = head.amin(dim=0).T.contiguous().topk(k, dim=1, largest=False, sorted=False).indices
        values = head.gather(1, best.T[None].expand(group, -1, -1)).permute(2, 0, 1).flatten(1)
    places = best[:, None, :] + groups * torch.arange(group, device=d2.device)[None, :, None]
    places = places.flatten(1)
    if rest:
        tail = d2[:, grouped:] if dim == 1 else d2[grouped:].T
        values = torch.cat([values, tail], dim=1)
        places = torch.cat([places, torch.arange(grouped, length, device=d2.device).expand(len(values), -1)], dim=1)
    found = values.topk(k, dim=1, largest=False, sorted=False)
    return found.values, places.gather(1, found.indices)


@lru_cache(maxsize=256)
def _group(length: int, k: int) -> int:
    """How many entries to reduce to their smallest, so that choosing costs least; 1 for none."""

    def choosing(count: int) -> float:
        # Nanoseconds, measured: `topk` takes a heap where there are 64 k entries or more, and else partitions.
        return 1.6 * count + 120 * k if count >= 64 * k else 10.0 * count

    def cost(group: int) -> float:
        left = k * group + length % group
        return choosing(length // group) + choosing(left) + 2 * left if group > 1 else choosing(length)

    return min((group for group in range(1, 65) if length // group >= 2 * k or group == 1), key=cost)


class Nearest:
    """The nearest columns of each row seen so far, brought up to date block by block."""

    def __init__(self, rows: int, k: int, like: Tensor) -> None:
        self.k = k
        self.d2 = like.new_full((rows, k), torch.inf)
        self.indices = torch.zeros(rows, k, dtype=torch.int64, device=like.device)

    def see(self, rows: slice, d2: Tensor, *, first: int, dim: int = 1) -> None:
        """Take in distances of `rows` to the columns from `first` on."""
        values, places = smallest(d2, min(self.k, d2.shape[dim]), dim=dim)
        values = torch.cat([self.d2[rows], values], dim=1)
        places = torch.cat([self.indices[rows], places + first], dim=1)
        found = values.topk(self.k, dim=1, largest=False, sorted=False)
        self.d2[rows], self.indices[rows] = found.values, places.gather(1, found.indices)

    def ascending(self) -> tuple[Tensor, Tensor]:
        """Squared distances and indices `[n, k]`, nearest first."""
        order = self.d2.argsort(dim=1, stable=True)
        return self.d2.gather(1, order), self.indices.gather(1, order)


def nearest(
    a: Rows, b: Rows, k: int, *, size: tuple[int, int] | None = None
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """Distances (not squared) and indices of the `k` nearest rows of `b`, nearest first; never the row itself."""
    found = Nearest(len(a.x), k, a.norms)
    for rows, columns, _, d2 in blocks(a, b, size=size):
        found.see(rows, d2, first=columns.start)
        if a is b and columns.stop > rows.stop:
            beyond = max(0, rows.stop - columns.start)
            found.see(slice(columns.start + beyond, columns.stop), d2[:, beyond:], first=rows.start, dim=0)
    d2, indices = found.ascending()
    return d2.clamp_(min=0).sqrt_(), indices


def squared_distances(a: Rows, b: Rows, *, tile: int = TILE, slack: bool = False) -> Iterator[tuple[slice, Tensor]]:
    """Yield `(rows, d2)`: a slice of `a`'s rows and their squared distances to all of `b`, `[rows, m]`.

    Where `a` is `b`, a row's distance to itself is infinite. With `slack`, each distance is smaller by what
    rounding may have added to it. Each tile may be overwritten by who receives it.
    """
    shrink = 1.0 - ROUNDING * torch.finfo(a.x.dtype).eps if slack else 1.0
    for part in parts(len(a.x), tile):
        d2 = torch.addmm(b.norms * shrink, a.x[part], b.x.T, alpha=-2).add_(a.norms[part, None] * shrink)
        if a is b:
            d2[:, part].diagonal().fill_(torch.inf)
        yield part, d2


def parts(n: int, tile: int, *, start: int = 0) -> Iterator[slice]:
    """Slices of at most `tile` that cover `start..n`."""
    for begin in range(start, n, tile):
        yield slice(begin, min(begin + tile, n))


@contextlib.contextmanager
def exact_products() -> Iterator[None]:
    """Float32 products with all their digits, whatever the user allowed: TF32 and bfloat16 have 3 of 7."""
    allowed = torch.get_float32_matmul_precision()
    if allowed == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)
