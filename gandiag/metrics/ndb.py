"""NDB, the number of statistically different bins, with bins that were not made from the rows they count.

    found = ndb(real=real, held_out=held_out, fake=fake)
    found.share, found.differs                       # 0.4, and which bins

Richardson and Weiss 2018, arXiv:1805.12462, section 3, cluster the training data, count training data and fakes in
each cluster, and test each for equal shares. But rows lie nearer to centres that were fitted to them than other rows
do: at d = 512 half of 100 bins differ between data and data. So here the bins are made from one part of the data and
the other part is counted; and the p of all bins are adjusted, where theirs call one bin in twenty different by chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.metrics._checks import Samples, samples, two_samples
from gandiag.metrics._shares import adjusted_p
from gandiag.metrics._tiles import Rows, nearest
from gandiag.metrics.base import metric

LEVEL = 0.05
"""Adjusted p below which a bin differs."""

ROWS = 20
"""Rows to expect in a bin: a bin that the fakes never reach then differs for certain (p below 1e-6 unadjusted)."""

MOST = 100
"""Bins at most, as in the paper."""

_STEPS = 50  # of k-means: the bins need not be the best ones, only made without the rows that are counted


@dataclass(frozen=True, eq=False)
class NDB:
    """How many bins differ, and which.

    Attributes:
        share: share of the bins that differ, in [0, 1]; the paper's NDB / K.
        count: how many differ.
        bins: how many there are.
        real_shares: `[bins]` share of the held-out rows in each.
        fake_shares: `[bins]` share of the fakes in each.
        p_adjusted: `[bins]` of Fisher's exact test for equal shares, adjusted over all bins.
    """

    share: float
    count: int
    bins: int
    real_shares: NDArray[np.float64] = field(repr=False)
    fake_shares: NDArray[np.float64] = field(repr=False)
    p_adjusted: NDArray[np.float64] = field(repr=False)

    @property
    def differs(self) -> NDArray[np.bool_]:
        """`[bins]` whether each differs; whether it is over or under, the shares say."""
        return self.p_adjusted < LEVEL


def ndb(*, real: Samples, held_out: Samples, fake: Samples, bins: int | None = None, seed: int = 0) -> NDB:
    """Count fakes and held-out data in bins that were made from other data.

    Args:
        real: embeddings of data that the bins are made from, by k-means, `[n, d]`.
        held_out: embeddings of other data, which are counted, `[h, d]`.
        fake: embeddings of generated samples, `[m, d]`.
        bins: how many, at least 2; by default one for each 20 rows of the smaller counted set, at most 100.
        seed: for the start of k-means. No global random stream is touched.

    Raises:
        ShapeError: widths differ, a set is empty, there are fewer rows of real than bins, or rows are not finite.
        UsageError: fewer than 2 bins.
    """
    if bins is not None and bins < 2:
        raise UsageError(f"bins must be at least 2, or there is nothing to compare; got {bins}")
    real, held_out = two_samples(real, held_out)
    real, fake = two_samples(real, fake)
    bins = bins or min(MOST, max(2, min(len(held_out), len(fake)) // ROWS))
    real = samples(real, name="real", rows=bins)

    centre = real.mean(dim=0, dtype=torch.float64)
    centres = _k_means(Rows.of(real, centre=centre, dtype=torch.float64), bins, np.random.default_rng(seed))
    reals, fakes = (
        np.bincount(_nearest(Rows.of(rows, centre=centre, dtype=torch.float64), centres), minlength=bins)
        for rows in (held_out, fake)
    )
    p = adjusted_p(reals=reals, fakes=fakes, of_fakes=len(fake))
    count = int((p < LEVEL).sum())
    return NDB(count / bins, count, bins, reals / len(held_out), fakes / len(fake), p)


@metric("ndb", better="lower", lo=0.0, hi=1.0, needs=20)
def differing_bins(*, real: Samples, fake: Samples) -> float:
    """Share of bins that differ; bins are made from a random half of real, and the other half is counted."""
    real = samples(real, name="real", rows=4)
    made_from, counted = torch.from_numpy(np.random.default_rng(0).permutation(len(real))).tensor_split(2)
    return ndb(real=real[made_from], held_out=real[counted], fake=fake).share


def _k_means(rows: Rows, k: int, rng: np.random.Generator) -> Rows:
    """Centres `[k, d]` by Lloyd's iteration from the start of Arthur and Vassilvitskii 2007 (k-means++)."""
    chosen = [int(rng.integers(len(rows.x)))]
    squared = torch.full_like(rows.norms, torch.inf)
    while len(chosen) < k:
        squared = torch.minimum(squared, (rows.x - rows.x[chosen[-1]]).square().sum(dim=1))
        reach = squared.cumsum(dim=0)
        # The next centre is drawn by squared distance; where all rows are copies of centres, any will do.
        draw = torch.tensor(rng.random() * float(reach[-1]), dtype=reach.dtype, device=reach.device)
        chosen.append(min(int(torch.searchsorted(reach, draw, right=True)), len(reach) - 1))
    centres = rows.x[chosen]
    labels = np.full(len(rows.x), -1)
    for _ in range(_STEPS):
        before, labels = labels, _nearest(rows, _with_norms(centres))
        if (before == labels).all():
            break
        index = torch.from_numpy(labels).to(rows.x.device)
        sums = torch.zeros_like(centres).index_add_(0, index, rows.x)
        counts = torch.bincount(index, minlength=k)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return _with_norms(centres)


def _nearest(rows: Rows, centres: Rows) -> NDArray[np.int64]:
    return np.asarray(nearest(rows, centres, 1)[1][:, 0].cpu())


def _with_norms(x: Tensor) -> Rows:
    return Rows(x, x.square().sum(dim=1))
