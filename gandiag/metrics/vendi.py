"""Vendi score: the effective number of different samples in one set.

Sources: Friedman and Dieng 2022, arXiv:2210.02410, Definition 3.1; other orders q: Pasarkar and Dieng 2023,
arXiv:2310.12952.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gandiag.errors import ShapeError, UsageError
from gandiag.metrics._checks import Samples, samples, two_samples
from gandiag.metrics._moments import mean_of
from gandiag.metrics._spectral import eigenvalues, gram
from gandiag.metrics.base import metric

_TILE = 2**20  # numbers that are widened to float64 at a time: 8 MiB


def vendi(x: Samples, q: float = 1.0, *, origin: Samples | None = None) -> float:
    """`exp` of the Rényi entropy of order `q` of the eigenvalues of the cosine kernel over n.

    Needs no reference. 1 when all rows point the same way; at most min(n, d), so in 2-D it never passes 2. It
    rises with n, and it depends on where the rows are seen from: an offset of the embedding makes every set look like
    one sample, unless `origin` is the *data's* mean, as in `measure_all`.

    Args:
        x: embeddings, `[n, d]`; rows that lie at the origin point nowhere and count for nothing.
        q: order, from 0 (counts every direction) by 1 (Shannon) to `inf` (only the most frequent one). Small orders
            weigh rare samples most. Shares that rounding makes out of nothing, about 1e-13, are not counted.
        origin: the point `[d]` that rows are seen from; zero by default.

    Returns:
        Between 1 and min(n, d); higher is more diverse.

    Raises:
        ShapeError: not 2-D, empty, rows are not finite, or `origin` is not a row of the same width.
        UsageError: `q` is negative or NaN.

    >>> round(vendi([[1.0, 0.0], [0.0, 1.0]]), 6)
    2.0
    """
    if not q >= 0:
        raise UsageError(f"the order q must be 0 or more (inf is allowed), got {q}")
    rows = samples(x, name="x")
    return _effective_number(_shares(rows, _seen_from(origin, rows)), q)


@metric("vendi", better="higher", lo=1.0, hi=float("inf"), needs=2)
def vendi_of_fake(*, real: Samples, fake: Samples) -> float:
    """The fakes' own score, seen from the real mean; compare it with that of as many held-out reals."""
    real, fake = two_samples(real, fake)
    return vendi(fake, origin=mean_of(real))


def _seen_from(origin: Samples | None, rows: Tensor) -> Float[Tensor, " d"]:
    if origin is None:
        return torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
    point = torch.as_tensor(origin).detach().to(rows.device, torch.float64)
    if point.shape != rows.shape[1:] or not bool(torch.isfinite(point).all()):
        raise ShapeError(f"origin must be one finite row of {rows.shape[1]} numbers, got shape {list(point.shape)}")
    return point


def _shares(rows: Float[Tensor, "n d"], origin: Float[Tensor, " d"]) -> Float[Tensor, " r"]:
    """The eigenvalues of the cosine kernel over n that are above zero; they sum to 1.

    The kernel `X Xᵀ` `[n, n]` of unit rows has the eigenvalues of `Xᵀ X` `[d, d]`, but for zeros: the smaller one is
    summed over tiles, of rows or of columns, and nothing else is as large as either.
    """
    n, d = rows.shape
    largest, lengths = _lengths(rows, origin)
    if d < n:
        kernel = rows.new_zeros(d, d, dtype=torch.float64)
        for part in _parts(n, d):
            kernel += gram((rows[part].double() - origin) / largest[part, None] / lengths[part, None])
    else:
        kernel = rows.new_zeros(n, n, dtype=torch.float64)
        for part in _parts(d, n):
            units = (rows[:, part].double() - origin[part]) / largest[:, None] / lengths[:, None]
            kernel += gram(units.T)
    values = eigenvalues(kernel)
    values = values / values.sum().clamp(min=1.0)  # only where no row points anywhere is it 0
    rounding = (len(values) + n**0.5) * torch.finfo(torch.float64).eps
    return values[values > rounding]


def _lengths(rows: Float[Tensor, "n d"], origin: Tensor) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Each row's largest number, and the norm of the row over that, which no scale of the row can overflow.

    Both are infinite for a row at the origin, so that what is divided by them is zero.
    """
    largest = rows.new_empty(len(rows), dtype=torch.float64)
    lengths = torch.empty_like(largest)
    for part in _parts(*rows.shape):
        seen = rows[part].double() - origin
        largest[part] = seen.abs().amax(dim=1)
        lengths[part] = (seen / largest[part, None]).norm(dim=1)
    nowhere = largest == 0
    return largest.masked_fill_(nowhere, torch.inf), lengths.masked_fill_(nowhere, torch.inf)


def _effective_number(shares: Float[Tensor, " r"], q: float) -> float:
    if len(shares) == 0:
        return 1.0  # all rows are at the origin, so all are the same
    if q == 0:
        return float(len(shares))
    if math.isinf(q):
        return float(1 / shares.max())
    logs = shares.log()
    if abs(q - 1) < 0.5:  # Σ p^q nears 1 with q: what it differs by keeps its digits, and at 1 the limit is Shannon's
        power = (
            -(shares * logs).sum() if q == 1 else torch.log1p((shares * torch.expm1((q - 1) * logs)).sum()) / (1 - q)
        )
    else:
        power = torch.logsumexp(q * logs, dim=0) / (1 - q)
    return float(power.exp())


def _parts(count: int, width: int) -> list[slice]:
    step = max(1, _TILE // width)
    return [slice(start, start + step) for start in range(0, count, step)]
