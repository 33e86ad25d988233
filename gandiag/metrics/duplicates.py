"""Near-duplicates: fakes that repeat each other (point collapse), and fakes that repeat the data (memorisation).

A support so small that samples recur is what the birthday-paradox test of Arora and Zhang 2017,
arXiv:1706.08224, looks for by eye; here the data's own spacing says what counts as a repetition.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Bool
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.metrics._checks import Samples
from gandiag.metrics._pass import CLOSENESS, Comparison, RealSide
from gandiag.metrics.base import metric


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Shares, and the row-by-row answers behind them.

    Attributes:
        within_fake: share of fakes that (nearly) repeat another fake, in [0, 1].
        of_real: share of fakes that (nearly) repeat a real row, in [0, 1].
        radius: the distance up to which two rows counted as repeating each other.
        of_fake: share of reals that some fake (nearly) repeats, in [0, 1].
        repeats_fake: `[m]` whether a fake repeats another one.
        repeats_real: `[m]` whether a fake repeats a real row.
        repeated: `[n]` whether some fake repeats a real row.
    """

    within_fake: float
    of_real: float
    radius: float
    of_fake: float
    repeats_fake: Bool[Tensor, " m"] = field(repr=False)
    repeats_real: Bool[Tensor, " m"] = field(repr=False)
    repeated: Bool[Tensor, " n"] = field(repr=False)

    @classmethod
    def of(cls, seen: Comparison) -> Duplicates:
        """What a pass over real and fake says.

        Raises:
            UsageError: the pass did not look for repetitions.
        """
        if seen.repeats_fake is None or seen.repeats_real is None or seen.repeated is None:
            raise UsageError("this pass did not look for repetitions; make the RealSide with repeats=True")
        return cls(
            within_fake=float(seen.repeats_fake.double().mean()),
            of_real=float(seen.repeats_real.double().mean()),
            radius=seen.radius,
            of_fake=float(seen.repeated.double().mean()),
            repeats_fake=seen.repeats_fake,
            repeats_real=seen.repeats_real,
            repeated=seen.repeated,
        )


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
    side = RealSide(real, k=1, clipped=False, kernel=False, closeness=closeness)
    return Duplicates.of(side.against(fake))


@metric("duplicates", better="lower", lo=0.0, hi=1.0, needs=2)
def repeating_share(*, real: Samples, fake: Samples) -> float:
    """Share of fakes that nearly repeat another fake: the sign of a generator with few different outputs."""
    return duplicates(real=real, fake=fake).within_fake


@metric("copies", better="lower", lo=0.0, hi=1.0, needs=2)
def copies(*, real: Samples, fake: Samples) -> float:
    """Share of fakes that nearly repeat a real row: the sign of memorisation, which coverage and recall reward."""
    return duplicates(real=real, fake=fake).of_real
