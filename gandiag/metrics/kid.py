"""Kernel distance: the squared maximum mean discrepancy with a cubic kernel.

Source: Bińkowski et al. 2018, arXiv:1801.01401, Section 3 (there with Inception features: KID).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.metrics._checks import Samples, two_samples
from gandiag.metrics._pass import Comparison
from gandiag.metrics._tiles import TILE, parts
from gandiag.metrics.base import metric


@metric("kid", better="lower", lo=float("-inf"), hi=float("inf"), needs=2)
def kid(*, real: Samples, fake: Samples, tile: int = TILE) -> float:
    """Unbiased squared MMD with `k(x, y) = (x·y / d + 1)³`, over all pairs at once, in float64.

    The usual mean over random subsets estimates the same number with more noise and more work, and the standard
    deviation over those subsets is no error bar. The kernel depends on where the origin is and on the scale:
    numbers from different embeddings cannot be compared, nor can off-centre ones be read.

    Args:
        real: embeddings of data, `[n, d]`.
        fake: embeddings of generated samples, `[m, d]`.
        tile: rows that are compared at a time; memory is O(tile x max(n, m)).

    Returns:
        0 on average for equal distributions, below it half of the time; lower is better.

    Raises:
        ShapeError: widths differ, a set has fewer than 2 rows, or rows are not finite.

    >>> kid(real=[[0.0], [0.0]], fake=[[1.0], [1.0]])
    7.0
    """
    real, fake = two_samples(real, fake, rows=2)
    real, fake = real.double(), fake.double()
    n, m = len(real), len(fake)
    within = _others(real, tile) / (n * (n - 1)) + _others(fake, tile) / (m * (m - 1))
    return float(within - 2 * _pairs(real, fake, tile) / (n * m))


def kid_of(seen: Comparison) -> tuple[float, float]:
    """The same number from the sums of a pass over real and fake, and its standard error over both sets.

    The pass makes kernels in float32: a number far smaller than the kernel's own mean, as equal distributions give, has
    fewer digits than `kid`'s. The error is that of the statistic's linear part (Hoeffding 1948): each row's own
    contribution, real and fake, varies as it varies over the rows. Under the null that part is nearly 0.

    Raises:
        UsageError: the pass took no sums of the kernel.
    """
    sums = (seen.kernel_real, seen.kernel_fake, seen.kernel_of_real, seen.kernel_of_fake)
    if any(vector is None for vector in sums):
        raise UsageError("this pass took no sums of the kernel; make the RealSide with kernel=True")
    real, fake, of_real, of_fake = (vector.double() for vector in sums if vector is not None)
    n, m = len(real), len(fake)
    real, fake, of_real, of_fake = real / (n - 1), fake / (m - 1), of_real / m, of_fake / n
    value = real.mean() + fake.mean() - 2 * of_real.mean()
    error = 2 * torch.hypot((real - of_real).std() / n**0.5, (fake - of_fake).std() / m**0.5)
    return float(value), float(error)


def rows_that_count(x: Tensor) -> float:
    """How many rows the kernel's sum comes from, as if these had equal parts: (sum k)² / sum k² of `k(x, x)`.

    The kernel grows with the sixth power of a row's length. Where tails are long a few rows make nearly all of it, and
    the next sample has others.
    """
    kernel = _log_kernel(x)
    return float((2 * kernel.logsumexp(dim=0) - (2 * kernel).logsumexp(dim=0)).exp())


def mean_kernel(x: Tensor) -> float:
    """Mean of `k(x, x)` over the rows."""
    return float(_log_kernel(x).exp().mean())


def _log_kernel(x: Tensor) -> Tensor:
    """Logarithm of `k(x, x)`, `[n]`: no power of it leaves the dtype."""
    squares = torch.cat([x[part].double().square().sum(dim=1) for part in parts(len(x), TILE)])
    return 3 * (squares / x.shape[1]).log1p()


def _pairs(a: Tensor, b: Tensor, tile: int) -> Tensor:
    """Sum of the kernel over all pairs, a 0-d tensor."""
    total = torch.zeros((), dtype=a.dtype, device=a.device)
    for start in range(0, len(a), tile):
        total += _cubic(torch.mm(a[start : start + tile], b.T), a.shape[1]).sum()
    return total


def _others(a: Tensor, tile: int) -> Tensor:
    """Sum of the kernel over all pairs of different rows."""
    return _pairs(a, a, tile) - _cubic(a.square().sum(dim=1), a.shape[1]).sum()


def _cubic(products: Tensor, d: int) -> Tensor:
    base = products.div_(d).add_(1.0)
    return base.square().mul_(base)
