"""Count, mean and scatter of rows that come in batches, or lie on several ranks, as exact as if seen at once.

Source: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances",
Eq. 2.1, for matrices. Sums of squares (`E[xxᵀ] - μμᵀ`) would lose all digits where embeddings are far off centre.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from gandiag.errors import ShapeError
from gandiag.metrics._checks import Samples, samples
from gandiag.metrics._spectral import gram

_TILE = 2**20  # numbers that are widened to float64 at a time, 8 MiB; or as many as the scatter has, if that is more


@dataclass(frozen=True, eq=False)
class Moments:
    """What a Gaussian fit, and so the Fréchet distance, needs to know of any number of rows: d² numbers.

    `a + b` are the moments of the rows of both. In whatever way rows are split, the sum differs by rounding only, 1e-12
    of the spread at most, also a million spreads away from zero. That is why the mean is kept in two parts: differences
    from an `origin` amid the rows have the digits that differences from zero lose.

    Attributes:
        count: rows, n.
        origin: a point amid the rows.
        shift: the mean, seen from the origin.
        scatter: `Σ (x - μ)(x - μ)ᵀ`, n - 1 times the covariance.
    """

    count: int
    origin: Float[Tensor, " d"] = field(repr=False)
    shift: Float[Tensor, " d"] = field(repr=False)
    scatter: Float[Tensor, "d d"] = field(repr=False)

    @classmethod
    def of(cls, rows: Samples) -> Moments:
        """Of one set of rows `[n, d]`, n = 0 included. Memory is O(d²), whatever n is.

        Raises:
            ShapeError: not 2-D, no columns, or rows are not finite.
        """
        return moments(samples(rows, name="rows", rows=0))

    @classmethod
    def over(cls, batches: Iterable[Samples]) -> Moments:
        """Of all batches, each `[n_i, d]`, seen once, one at a time.

        Raises:
            ShapeError: as `of`; batches differ in width; or there is no batch.
        """
        total: Moments | None = None
        for batch in batches:
            one = cls.of(batch)
            total = one if total is None else total + one
        if total is None:
            raise ShapeError("there is no batch, so the number of columns is unknown; give at least one")
        return total

    @property
    def mean(self) -> Float[Tensor, " d"]:
        """`[d]`; NaN where there are no rows."""
        return self.origin + self.shift if self.count else torch.full_like(self.origin, torch.nan)

    @property
    def covariance(self) -> Float[Tensor, "d d"]:
        """The unbiased one, of at least 2 rows."""
        if self.count < 2:
            raise ShapeError(
                f"a covariance needs at least 2 rows, these moments are of {self.count}; give more samples"
            )
        return self.scatter / (self.count - 1)

    def __add__(self, other: Moments) -> Moments:
        if len(self.origin) != len(other.origin):
            raise ShapeError(
                f"moments of {len(self.origin)} and of {len(other.origin)} columns have no sum; "
                "both must come from the same embedder"
            )
        if not (self.count and other.count):
            return self if self.count else other
        count = self.count + other.count
        device = self.origin.device
        gap = (other.origin.to(device) - self.origin) + (other.shift.to(device) - self.shift)
        scatter = self.scatter + other.scatter.to(device) + _square(gap, self.count * other.count / count)
        return Moments(count, self.origin, self.shift + gap * (other.count / count), scatter)

    def merged_over_ranks(self, group: dist.ProcessGroup | None = None) -> Moments:
        """The moments of the rows of all ranks, the same on each; itself where torch.distributed is not in use.

        A collective: every rank of the group must call it, also one without rows. The tensors must be on a device that
        the group's backend sends from: CPU for gloo, GPU for NCCL. d² numbers are sent, whatever the count of ranks.

        Raises:
            ShapeError: the ranks' rows differ in width; on every rank.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return self
        sizes = _gathered(torch.tensor([self.count, len(self.origin)], device=self.origin.device), group)
        if len(set(sizes[:, 1].tolist())) > 1:
            raise ShapeError(f"ranks have rows of {sizes[:, 1].tolist()} columns; all must come from the same embedder")
        places = _gathered(torch.stack([self.origin, self.shift]), group)
        nothing = torch.zeros_like(self.scatter)
        means = [
            Moments(int(count), origin, shift, nothing)
            for count, (origin, shift) in zip(sizes[:, 0].tolist(), places, strict=True)
        ]
        # With scatters of zero, the sum holds what the means differ by; the rows' own scatters are added to that.
        between = functools.reduce(Moments.__add__, means)
        scatter = self.scatter.clone()
        dist.all_reduce(scatter, group=group)
        return Moments(between.count, between.origin, between.shift, between.scatter + scatter)


def moments(rows: Float[Tensor, "n d"]) -> Moments:
    """`Moments.of` rows that have been checked."""
    n, d = rows.shape
    origin = mean_of(rows)
    shift, scatter = torch.zeros_like(origin), torch.zeros(d, d, dtype=torch.float64, device=rows.device)
    for part in _parts(rows):
        centred = part - origin
        shift += centred.sum(dim=0) / max(1, n)
        scatter += gram(centred)
    # Far off centre the origin is a rounded mean; the shift says by how much, and the scatter is that around the mean.
    return Moments(n, origin, shift, scatter - _square(shift, float(n)))


def mean_of(rows: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """The mean in float64, zero of no rows. `rows.mean(dim=0, dtype=torch.float64)` would widen all rows at once."""
    total = torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
    for part in _parts(rows):
        total += part.double().sum(dim=0)
    return total / max(1, len(rows))


def _parts(rows: Tensor) -> Iterator[Tensor]:
    """As many rows at a time as have the numbers of the scatter, or of a tile where that is more."""
    step = max(rows.shape[1], _TILE // rows.shape[1])
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _square(x: Float[Tensor, " d"], weight: float) -> Float[Tensor, "d d"]:
    """`w x xᵀ`, exactly symmetric."""
    weighted = x * weight**0.5
    return torch.outer(weighted, weighted)


def _gathered(x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """The ranks' tensors of one shape, stacked in the order of ranks."""
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, x.contiguous(), group=group)
    return torch.stack(parts)
