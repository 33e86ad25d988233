"""Vendi score: the effective number of different samples in one set.

Sources: Friedman and Dieng 2022, arXiv:2210.02410, Definition 3.1; other orders q: Pasarkar and Dieng 2023,
arXiv:2310.12952.
"""

from __future__ import annotations

import math

import torch

from gandiag.errors import UsageError
from gandiag.metrics._checks import Samples, samples, two_samples
from gandiag.metrics._spectral import squared_singular_values
from gandiag.metrics.base import metric


def vendi(x: Samples, q: float = 1.0) -> float:
    """`exp` of the Rényi entropy of order `q` of the eigenvalues of the cosine kernel over n.

    Needs no reference. 1 when all rows point the same way; at most min(n, d), so in 2-D it never passes 2. It
    rises with n, and it depends on where the origin is: centre the rows on the *data's* mean first, as
    `measure_all` does; an offset of the embedding makes every set look like one sample.

    Args:
        x: embeddings, `[n, d]`; rows of zeros point nowhere and count for nothing.
        q: order, from 0 (counts every direction) by 1 (Shannon) to `inf` (only the most frequent one). Small orders
            weigh rare samples most.

    Returns:
        Between 1 and min(n, d); higher is more diverse.

    Raises:
        ShapeError: not 2-D, empty, or rows are not finite.
        UsageError: `q` is negative or NaN.

    >>> round(vendi([[1.0, 0.0], [0.0, 1.0]]), 6)
    2.0
    """
    if not q >= 0:
        raise UsageError(f"the order q must be 0 or more (inf is allowed), got {q}")
    rows = samples(x, name="x").double()
    directions = torch.nn.functional.normalize(rows, dim=1, eps=torch.finfo(torch.float64).tiny)
    values = squared_singular_values(directions)
    if not float(values.sum()) > 0:
        return 1.0  # all rows are zero, so all are the same
    shares = values / values.sum()
    # Rounding leaves eigenvalues of about 1e-16 where there are none; orders below 1 would count them.
    shares = shares[shares > len(shares) * torch.finfo(torch.float64).eps]
    if q == 1.0:
        return float(torch.exp(-(shares * shares.log()).sum()))
    if math.isinf(q):
        return float(1.0 / shares.max())
    return float(shares.pow(q).sum().pow(1.0 / (1.0 - q)))


@metric("vendi", better="higher", lo=1.0, hi=float("inf"), needs=2)
def vendi_of_fake(*, real: Samples, fake: Samples) -> float:
    """The fakes' own score, seen from the real mean; compare it with that of as many held-out reals."""
    real, fake = two_samples(real, fake)
    return vendi(fake.double() - real.mean(dim=0, dtype=torch.float64))
