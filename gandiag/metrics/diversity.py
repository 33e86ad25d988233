"""Pair diversity: how far apart two samples of one set are on average, beside the same of the data.

The idea is that of Zhu et al. 2017, "Toward multimodal image-to-image translation", arXiv:1711.11586, who averaged
perceptual distances over random pairs of outputs. Here the embedding says what is far, and all pairs are averaged.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.metrics._checks import Samples, samples, two_samples
from gandiag.metrics._moments import mean_of
from gandiag.metrics._pairs import some_pairs
from gandiag.metrics._tiles import TILE, Rows, parts, squared_distances
from gandiag.metrics.base import metric


@metric("pair_diversity", better="higher", lo=0.0, hi=float("inf"), needs=2)
def pair_diversity(*, real: Samples, fake: Samples, pairs: int | None = None, seed: int = 0) -> float:
    """Mean distance between two fakes, over that between two reals.

    About 1 for equal distributions at any n, below it where modes are missing *or* shrunken, and 0 for a single
    output. Junk raises it: noise is far from everything.

    Args:
        real: embeddings of data, `[n, d]`.
        fake: embeddings of generated samples, `[m, d]`.
        pairs: how many random pairs of each set; all of them by default, as `pair_distance` says.
        seed: for the random pairs.

    Returns:
        At least 0; infinite where all reals are the same and fakes are not, NaN where neither differ.

    Raises:
        ShapeError: widths differ, a set has fewer than 2 rows, or rows are not finite.
        UsageError: `pairs` is below 1.

    >>> pair_diversity(real=[[0.0], [2.0], [4.0]], fake=[[7.0], [8.0], [9.0]])
    0.5
    """
    real, fake = two_samples(real, fake, rows=2)
    ours, theirs = (pair_distance(x, pairs=pairs, seed=seed) for x in (real, fake))
    if ours == 0:
        return math.inf if theirs else math.nan
    return theirs / ours


def pair_distance(x: Samples, *, pairs: int | None = None, seed: int = 0, tile: int = TILE) -> float:
    """Mean Euclidean distance between two different rows, in float64.

    The mean *squared* one would be twice the trace of the covariance, which a few stray rows decide alone.

    Args:
        x: embeddings, `[n, d]`.
        pairs: how many pairs, drawn at random without repetition. By default all `n (n - 1) / 2`, at the price of half
            a product of the rows with themselves; the mean over 10,000 pairs is within some 1 % of it, at any n.
        seed: for the random pairs. No global random stream is touched.
        tile: rows that are compared at a time; memory is O(tile x (tile + d)). It never changes the answer.

    Raises:
        ShapeError: not 2-D, fewer than 2 rows, or rows are not finite.
        UsageError: `pairs` or `tile` is below 1.

    >>> pair_distance([[0.0, 0.0], [3.0, 4.0]])
    5.0
    """
    if tile < 1:
        raise UsageError(f"tile must be at least 1, got {tile}")
    rows = samples(x, name="x", rows=2)
    n = len(rows)
    if pairs is not None and pairs < n * (n - 1) // 2:
        chosen = torch.from_numpy(some_pairs(np.zeros(n, dtype=np.int64), pairs=pairs, seed=seed)).to(rows.device)
        sums = [_apart(rows, chosen[start : start + tile]).sum() for start in range(0, pairs, tile)]
        return float(sum(sums) / pairs)
    return float(distance_from_others(rows, tile=tile).mean())


def distance_from_others(rows: Tensor, *, tile: int = TILE) -> Tensor:
    """Mean distance from each row to the others, `[n]` float64."""
    n, centre = len(rows), mean_of(rows)
    total = torch.zeros(n, dtype=torch.float64, device=rows.device)
    for here in parts(n, tile):
        ours = Rows.of(rows[here], centre=centre, dtype=torch.float64)
        total[here] += _distances(ours, ours).sum(dim=1)
        for there in parts(n, tile, start=here.stop):
            apart = _distances(ours, Rows.of(rows[there], centre=centre, dtype=torch.float64))
            total[here] += apart.sum(dim=1)
            total[there] += apart.sum(dim=0)
    return total / (n - 1)


def _apart(rows: Tensor, pairs: Tensor) -> Tensor:
    apart: Tensor = torch.linalg.vector_norm(rows[pairs[:, 0]].double() - rows[pairs[:, 1]].double(), dim=1)
    return apart


def _distances(a: Rows, b: Rows) -> Tensor:
    """All distances from rows of `a` to rows of `b`; a row's distance to itself is 0."""
    ((_, d2),) = squared_distances(a, b, tile=len(a.x))
    if a is b:
        d2.fill_diagonal_(0.0)
    return d2.clamp_(min=0).sqrt_()
