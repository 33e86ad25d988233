"""Near-duplicates: fakes that repeat each other (point collapse), and fakes that repeat the data (memorisation).

A support so small that samples recur is what the birthday-paradox test of Arora and Zhang 2017,
arXiv:1706.08224, looks for by eye; here the data's own spacing says what counts as a repetition.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.metrics._checks import Samples, two_samples
from gandiag.metrics._tiles import Rows, nearest
from gandiag.metrics.base import metric

CLOSENESS = 0.2
"""Nearer than a fifth of the data's own spacing is a repetition. Independent points of a plane come so close in 2.7 %
of cases (1 - 2^-0.04), those of 10 dimensions in none; modes shrunk to half their spread do not count."""


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Shares, and the row-by-row answers behind them.

    Attributes:
        within_fake: share of fakes that (nearly) repeat another fake, in [0, 1].
        of_real: share of fakes that (nearly) repeat a real row, in [0, 1].
        radius: the distance up to which two rows counted as repeating each other.
        repeats_fake: `[m]` whether a fake repeats another one.
        repeats_real: `[m]` whether a fake repeats a real row.
    """

    within_fake: float
    of_real: float
    radius: float
    repeats_fake: Bool[Tensor, " m"] = field(repr=False)
    repeats_real: Bool[Tensor, " m"] = field(repr=False)


def duplicates(*, real: Samples, fake: Samples, closeness: float = CLOSENESS) -> Duplicates:
    """Find fakes that are closer to another row than rows of data are to each other.

    The radius is `closeness` times the median distance from a real row to its nearest other one, so it has the
    embedding's own scale. Where data repeat themselves the radius is 0 and only exact repetitions count. Both shares
    grow with m: read them beside their null.

    Args:
        real: embeddings of data, `[n, d]`; for `of_real` to mean memorisation they must be the training data.
        fake: embeddings of generated samples, `[m, d]`.
        closeness: what part of the data's spacing counts as the same.

    Returns:
        Both shares; lower is better.

    Raises:
        ShapeError: widths differ, a set has fewer than 2 rows, or rows are not finite.
        UsageError: `closeness` is negative.

    >>> found = duplicates(real=[[0.0], [1.0], [2.0]], fake=[[0.1], [0.5], [0.5], [9.0]])
    >>> found.within_fake, found.of_real
    (0.5, 0.25)
    """
    if not closeness >= 0:
        raise UsageError(f"closeness must be 0 or more, got {closeness}")
    real, fake = two_samples(real, fake, rows=2)
    centre = real.mean(dim=0, dtype=torch.float64)
    # float64 always: what is asked is whether distances are small, where rounding is relatively largest
    a = Rows.of(real, centre=centre, dtype=torch.float64)
    b = Rows.of(fake, centre=centre, dtype=torch.float64)
    radius = closeness * nearest(a, a, 1)[0].quantile(0.5)
    rounding = _rounding(b)
    repeats_fake = nearest(b, b, 1)[0][:, 0] <= radius + rounding
    repeats_real = nearest(b, a, 1)[0][:, 0] <= radius + rounding
    return Duplicates(
        within_fake=float(repeats_fake.double().mean()),
        of_real=float(repeats_real.double().mean()),
        radius=float(radius),
        repeats_fake=repeats_fake.cpu(),
        repeats_real=repeats_real.cpu(),
    )


@metric("duplicates", better="lower", lo=0.0, hi=1.0, needs=2)
def repeating_share(*, real: Samples, fake: Samples) -> float:
    """Share of fakes that nearly repeat another fake: the sign of a generator with few different outputs."""
    return duplicates(real=real, fake=fake).within_fake


@metric("copies", better="lower", lo=0.0, hi=1.0, needs=2)
def copies(*, real: Samples, fake: Samples) -> float:
    """Share of fakes that nearly repeat a real row: the sign of memorisation, which coverage and recall reward."""
    return duplicates(real=real, fake=fake).of_real


def _rounding(rows: Rows) -> Tensor:
    """How large the distance between equal rows may come out, `[n]`: a square root makes much of little."""
    return (16 * torch.finfo(rows.norms.dtype).eps * rows.norms).sqrt()
