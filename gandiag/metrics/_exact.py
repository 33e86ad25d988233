"""Distances without cancellation: for the few decisions that the fast products cannot make.

A product of centred rows, `|a|² + |b|² - 2 a·b`, loses digits where rows are close and far from the centre; the sum of
squared differences loses none. It is some fifty times slower, so it is only asked about pairs that a product has left
within its own rounding of the answer.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gandiag.metrics._tiles import Nearest, Rows, parts

_AT_ONCE = 2**20  # numbers of a product held at a time: 8 MB
_IN_CACHE = 2**18  # numbers looked at several times in a row: 2 MB
_SPARE = 8  # more neighbours than asked for are looked at, as the product may have swapped some


def apart(
    a: Float[Tensor, "n d"], b: Float[Tensor, "m d"], i: Int[Tensor, " p"], j: Int[Tensor, " p"]
) -> Float[Tensor, " p"]:
    """The distance of each pair of rows `a[i], b[j]`, in float64, from the rows as they were given."""
    found = torch.empty(len(i), dtype=torch.float64, device=a.device)
    for part in parts(len(i), max(1, _IN_CACHE // a.shape[1])):
        found[part] = _length(b[j[part]].double().sub_(a[i[part]]))
    return found


def _length(difference: Tensor) -> Tensor:
    """One order of summation for all: equal pairs of rows must come out equally far."""
    length: Tensor = difference.square_().sum(dim=-1).sqrt_()
    return length


def within_reach(
    a: Float[Tensor, "n d"], b: Float[Tensor, "m d"], radii: Tensor, *, centre: Float[Tensor, " d"]
) -> Bool[Tensor, "n m"]:
    """Whether each pair is at most `radii` apart, `[n, 1]` or `[1, m]`, ties included: exact."""
    answers = torch.empty(len(a), len(b), dtype=torch.bool, device=a.device)
    far = Rows.of(b, centre=centre, dtype=torch.float64)
    for part in parts(len(a), max(1, _AT_ONCE // max(1, len(b)))):
        near = Rows.of(a[part], centre=centre, dtype=torch.float64)
        reach = radii[part] if len(radii) == len(a) and radii.shape[1] == 1 else radii
        d2 = torch.addmm(far.norms, near.x, far.x.T, alpha=-2).add_(near.norms[:, None])
        if reach.shape[1] == 1:
            rounding = near.rounding(reach[:, 0])[:, None]
        else:
            rounding = far.rounding(reach[0])[None]
        d2.sub_(reach.square())
        inside = d2 <= 0
        i, j = (d2.abs_() <= rounding).nonzero(as_tuple=True)
        limits = reach[i, 0] if reach.shape[1] == 1 else reach[0, j]
        inside[i, j] = apart(a, b, i + part.start, j) <= limits
        answers[part] = inside
    return answers


def nearest(
    a: Float[Tensor, "n d"],
    which: Int[Tensor, " r"],
    b: Float[Tensor, "m d"],
    k: int,
    *,
    centre: Float[Tensor, " d"],
) -> tuple[Float[Tensor, "r k"], Int[Tensor, "r k"]]:
    """Distances and indices of the `k` nearest rows of `b` to the rows `a[which]`, nearest first; never itself.

    More than `k + 8` neighbours that agree to the last digits of a float64 product are taken as equally far.
    """
    wide = max(1, _AT_ONCE // b.shape[1])
    distances, indices = [], []
    for part in parts(len(which), max(1, _AT_ONCE // wide)):
        here = which[part]
        near = Rows.of(a[here], centre=centre, dtype=torch.float64)
        found = Nearest(len(here), min(k + _SPARE, len(b) - (a is b)), near.x)
        for columns in parts(len(b), wide):
            far = Rows.of(b[columns], centre=centre, dtype=torch.float64)
            d2 = torch.addmm(far.norms, near.x, far.x.T, alpha=-2).add_(near.norms[:, None])
            if a is b:
                itself = here[:, None] == torch.arange(columns.start, columns.stop, device=a.device)
                d2.masked_fill_(itself, torch.inf)
            found.see(slice(0, len(here)), d2, first=columns.start)
        exact, places = settle(a, here, b, found.indices, k)
        distances.append(exact)
        indices.append(places)
    return torch.cat(distances), torch.cat(indices)


def settle(
    a: Float[Tensor, "n d"],
    which: Int[Tensor, " r"],
    b: Float[Tensor, "m d"],
    candidates: Int[Tensor, "r c"],
    k: int,
) -> tuple[Float[Tensor, "r k"], Int[Tensor, "r k"]]:
    """The `k` nearest among candidate neighbours of each row `a[which]`, exact; equal ones by their index."""
    candidates = candidates.sort(dim=1).values
    exact = torch.empty(candidates.shape, dtype=torch.float64, device=a.device)
    for part in parts(len(which), max(1, _IN_CACHE // (a.shape[1] * candidates.shape[1]))):
        exact[part] = _length(b[candidates[part]].double().sub_(a[which[part], None]))
    order = exact.argsort(dim=1, stable=True)[:, :k]
    return exact.gather(1, order), candidates.gather(1, order)
