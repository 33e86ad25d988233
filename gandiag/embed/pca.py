"""Principal components of the real samples.

Source: Pearson 1901; Hotelling 1933. Components fit the noise of the very rows they come from: along them these rows
are spread wider than any others are, and fakes, which are always others, look shrunken. So they come from a part of
the real samples only, and `Embedding.spent` says which: that part is to be left out of what is measured.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gandiag.embed.base import Fitted, fitted_embedder
from gandiag.errors import ShapeError

MOST = 64
"""Components at most. On stacked digits, of 192 numbers, 24 tell classes worse than pixels do and 64 as well."""
SHARE = 0.99
"""Share of the variance from which on no more are kept."""
PART = 5
"""One in so many real rows is spent on the components ..."""
FEWEST = 32
"""... but no fewer than this ..."""
SPENT = 2048
"""... and no more: then the eigenvalues take seconds, and 64 components are known well."""
BLOCK = 2**22
"""Numbers of float64 that are looked at at a time."""
SEED = 20210607


@fitted_embedder("pca")
def pca(real: Tensor) -> Fitted:
    """Learn the components from a fifth of the rows, drawn at random, 32 to 2,048 of them.

    Args:
        real: [n, ...], at least 64 rows; those that are drawn must be finite.

    Returns:
        Features [n, k] float32: centred at the mean of these rows, k so that 99 % of their variance is kept, at most
        64. Of each component the entry that is largest in size is positive.

    Raises:
        ShapeError: too few rows, rows that are not finite, or rows that are all the same.
    """
    n = len(real)
    if n < 2 * FEWEST:
        raise ShapeError(f"pca needs {2 * FEWEST} real samples, as it spends some of them, and got {n}")
    count = min(SPENT, max(FEWEST, n // PART))
    spent = torch.randperm(n, generator=torch.Generator().manual_seed(SEED))[:count].sort().values
    x = real[spent.to(real.device)].flatten(1) if real.ndim > 1 else real[spent.to(real.device), None]
    broken = spent[(~torch.isfinite(x).all(dim=1)).cpu()]
    if len(broken):
        raise ShapeError(
            f"{len(broken)} real samples hold NaN or infinity, such as sample {int(broken[0])}: remove them"
        )
    mean, components, share = principal(x)

    def features(batch: Tensor) -> Tensor:
        flat = batch.reshape(len(batch), -1).float()
        return (flat - mean.to(flat.device)) @ components.to(flat.device).T

    kept = len(components)
    return Fitted(
        features,
        notes=(
            f"{x.shape[1]:,} numbers a sample were projected to the {kept} principal "
            f"component{'s' if kept > 1 else ''} that hold {share:.1%} of the variance of {count:,} real samples",
        ),
        work=2 * x.shape[1],
        spent=spent,
    )


def principal(x: Tensor, *, most: int = MOST, share: float = SHARE) -> tuple[Tensor, Tensor, float]:
    """The components with the most variance.

    From the smaller of the two matrices of inner products, of columns or of rows, in float64.

    Args:
        x: rows [n, d].
        most: how many at most.
        share: of the variance, from which on no more are kept.

    Returns:
        The mean [d] and the components [k, d], float32, and the share of the variance that these hold.

    Raises:
        ShapeError: all rows are the same.
    """
    n, d = x.shape
    mean = x.mean(dim=0, dtype=torch.float64)
    slices = [slice(start, start + max(1, BLOCK // n)) for start in range(0, d, max(1, BLOCK // n))]
    if d <= n:
        centred = x.double() - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred)
    else:
        gram = torch.zeros(n, n, dtype=torch.float64, device=x.device)
        for part in slices:
            centred = x[:, part].double() - mean[part]
            gram += centred @ centred.T
        values, vectors = torch.linalg.eigh(gram)
    values = values.flip(0).clamp_min(0)
    total = float(values.sum())
    if not total > 0:
        raise ShapeError(f"all of the {n} real samples that pca looks at are the same: there is nothing to compare")
    # Below the rounding of the largest, directions are noise of the arithmetic; of n rows at most n - 1 are real.
    real_ones = int((values[: n - 1] > values[0] * max(n, d) * torch.finfo(torch.float64).eps).sum())
    reached = int((values.cumsum(0) < share * total).sum()) + 1
    kept = max(1, min(most, reached, real_ones))
    vectors = vectors.flip(1)[:, :kept]
    if d > n:
        vectors = torch.cat([(x[:, part].double() - mean[part]).T @ vectors for part in slices])
        vectors /= vectors.norm(dim=0)
    largest = vectors.abs().argmax(dim=0)
    vectors = vectors * vectors.gather(0, largest[None]).sign()
    return mean.float(), vectors.T.float().contiguous(), float(values[:kept].sum()) / total
