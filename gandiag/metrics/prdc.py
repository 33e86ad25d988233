"""Precision, recall, density and coverage, in one pass over three distance matrices that never exist as a whole.

Sources: precision and recall, Kynkäänniemi et al. 2019, arXiv:1904.06991; density and coverage, Naeem et al.
2020, arXiv:2002.09797. A *ball* is drawn around each row, as wide as the distance to its k-th nearest other row
of the same set. The ball is closed (`<=`, as in Kynkäänniemi's own code), so a copy counts as inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.metrics._checks import Samples, two_samples
from gandiag.metrics._tiles import TILE, Rows, squared_distances, squared_radii
from gandiag.metrics.base import metric

_ALWAYS_EXACT = 2**20
"""Up to so many pairs, float64 costs hundredths of a second: then there is nothing to weigh."""

_TRUSTED_DIGITS = 1e3
"""A float32 radius is trusted where it is so many times larger than the rounding of what it was made from."""


@dataclass(frozen=True, eq=False)
class PRDC:
    """The four numbers, and the row-by-row answers that they are the means of.

    Attributes:
        precision: share of fakes inside some real ball, in [0, 1].
        recall: share of reals inside some fake ball, in [0, 1].
        density: real balls that hold a fake, on average, over k; near 1 for equal distributions, unbounded.
        coverage: share of reals whose own ball holds a fake, in [0, 1].
        in_real: `[m]` whether a fake lies in a real ball.
        in_fake: `[n]` whether a real lies in a fake ball.
        fake_in: `[m]` how many real balls hold a fake.
        covered: `[n]` whether a real's own ball holds a fake.
        k: the neighbour that set the radii.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    in_real: Bool[Tensor, " m"] = field(repr=False)
    in_fake: Bool[Tensor, " n"] = field(repr=False)
    fake_in: Int[Tensor, " m"] = field(repr=False)
    covered: Bool[Tensor, " n"] = field(repr=False)
    k: int


def prdc(*, real: Samples, fake: Samples, k: int = 5, tile: int = TILE) -> PRDC:
    """Compare two sets of embeddings by the balls around their rows.

    All four depend on n, m, k and the embedding: equal distributions do not give 1 (at d = 512 precision is
    0.90 for n = 500 and 0.72 for n = 4000). Read them beside their null, see `measure_all`.

    Args:
        real: embeddings of data, `[n, d]`.
        fake: embeddings of generated samples from the same embedder, `[m, d]`.
        k: which nearest neighbour sets a ball's radius.
        tile: rows that are compared at a time; memory is O(tile x max(n, m)). It never changes the answer.

    Returns:
        The four numbers and the vectors behind them, on the CPU.

    Raises:
        ShapeError: widths differ, a set has `k` rows or fewer, or rows are not finite.
        UsageError: `k` or `tile` is below 1.

    >>> square = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    >>> prdc(real=square, fake=[[0.0, 0.0], [0.0, 0.1], [0.1, 0.0]], k=1).coverage
    0.75
    """
    if k < 1 or tile < 1:
        raise UsageError(f"k and tile must be at least 1, got k={k} and tile={tile}")
    real, fake = two_samples(real, fake, rows=k + 1)
    balls = _balls(real, fake, k, tile)
    in_fake = torch.empty(len(real), dtype=torch.bool, device=real.device)
    covered = torch.empty_like(in_fake)
    fake_in = torch.zeros(len(fake), dtype=torch.int64, device=real.device)
    for part, d2 in squared_distances(balls.real, balls.fake, tile=tile, slack=True):
        inside = d2 <= balls.real_radii[part, None]
        covered[part] = inside.any(dim=1)
        fake_in += inside.sum(dim=0)
        in_fake[part] = d2.sub_(balls.fake_radii).amin(dim=1) <= 0
    in_real = fake_in > 0
    return PRDC(
        precision=_mean(in_real),
        recall=_mean(in_fake),
        density=_mean(fake_in) / k,
        coverage=_mean(covered),
        in_real=in_real.cpu(),
        in_fake=in_fake.cpu(),
        fake_in=fake_in.cpu(),
        covered=covered.cpu(),
        k=k,
    )


@metric("precision", better="higher", lo=0.0, hi=1.0, needs=6)
def precision(*, real: Samples, fake: Samples, k: int = 5) -> float:
    """Share of fakes inside some real ball: low where fakes are no data. Blind to missing modes."""
    return prdc(real=real, fake=fake, k=k).precision


@metric("recall", better="higher", lo=0.0, hi=1.0, needs=6)
def recall(*, real: Samples, fake: Samples, k: int = 5) -> float:
    """Share of reals inside some fake ball: low where modes are missing *or* shrunken; junk raises it."""
    return prdc(real=real, fake=fake, k=k).recall


@metric("density", better="higher", lo=0.0, hi=float("inf"), needs=6)
def density(*, real: Samples, fake: Samples, k: int = 5) -> float:
    """Real balls that hold a fake, over k: well above its null where modes are shrunken."""
    return prdc(real=real, fake=fake, k=k).density


@metric("coverage", better="higher", lo=0.0, hi=1.0, needs=6)
def coverage(*, real: Samples, fake: Samples, k: int = 5) -> float:
    """Share of reals whose own ball holds a fake: low where modes are missing. Blind to shrunken ones."""
    return prdc(real=real, fake=fake, k=k).coverage


@dataclass(frozen=True, eq=False)
class _Balls:
    real: Rows
    fake: Rows
    real_radii: Float[Tensor, " n"]  # squared
    fake_radii: Float[Tensor, " m"]  # squared


def _balls(real: Tensor, fake: Tensor, k: int, tile: int) -> _Balls:
    """Rows and radii, in float32 where that is provably enough and in float64 elsewhere."""
    fits = len(real) * len(fake) > _ALWAYS_EXACT and real.device.type == "cpu"  # elsewhere float32 may mean TF32
    for dtype in (torch.float32, torch.float64) if fits else (torch.float64,):
        centre = real.mean(dim=0, dtype=torch.float64)
        a = Rows.of(real, centre=centre, dtype=dtype, tile=tile)
        b = Rows.of(fake, centre=centre, dtype=dtype, tile=tile)
        balls = _Balls(a, b, squared_radii(a, k, tile=tile), squared_radii(b, k, tile=tile))
        if dtype == torch.float64 or (_trusted(a, balls.real_radii) and _trusted(b, balls.fake_radii)):
            break
    return balls


def _trusted(rows: Rows, radii: Tensor) -> bool:
    """Whether no radius is lost in the rounding of `|a|² + |b|² - 2 a·b`; tight, far-off clusters lose it."""
    rounding = torch.finfo(radii.dtype).eps * rows.norms
    return bool((radii >= _TRUSTED_DIGITS * rounding).all())


def _mean(vector: Tensor) -> float:
    return float(vector.double().mean())
