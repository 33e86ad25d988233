"""One pass over real and fake that answers everything the metrics of neighbours ask.

    side = RealSide(real, k=5)          # once: a third of the work
    seen = side.against(fake)           # for each set of fakes

Three matrices of squared distances are looked at, block by block, none of them exists as a whole: real to real and fake
to fake (half of each, as they are symmetric), and real to fake. All is float32, and each answer is what exact
arithmetic would give: see `_between` for how.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.metrics._among import Among, among
from gandiag.metrics._between import Between, Side, between
from gandiag.metrics._checks import Samples, samples, two_samples
from gandiag.metrics._kernel import Shifts
from gandiag.metrics._team import ALONE, Team
from gandiag.metrics._tiles import Rows

Size = tuple[int, int]

CLOSENESS = 0.2
"""Nearer than a fifth of the data's own spacing is a repetition. Independent points of a plane come so close in 2.7 %
of cases (1 - 2^-0.04), those of 10 dimensions in none; modes shrunk to half their spread do not count."""


_CENTRED_ON = 512  # rows that the centre is taken from


@dataclass(frozen=True, eq=False)
class Comparison:
    """What one pass saw, on the CPU; the fields of what was not asked for are None.

    Attributes:
        k: the neighbour that set the radii.
        fakes_in: `[n]` how many fakes lie in each real's ball.
        holding: `[m]` how many real balls hold each fake.
        reached: `[n]` whether a real lies in any fake's ball.
        holding_clipped: `[m]` how many real balls hold each fake, none of them larger than the median one.
        holding_clipped_real: `[n]` the same of each real, its own ball aside.
        repeats_fake: `[m]` whether a fake (nearly) repeats another fake.
        repeats_real: `[m]` whether a fake (nearly) repeats a real.
        repeated: `[n]` whether a real is (nearly) repeated by a fake.
        radius: the distance up to which two rows repeat each other.
        kernel_real: `[n]` sum of the cubic kernel of a real over the other reals.
        kernel_fake: `[m]` the same of a fake over the other fakes.
        kernel_of_real: `[n]` sum of the kernel of a real over all fakes.
        kernel_of_fake: `[m]` sum of the kernel of a fake over all reals.
    """

    k: int
    fakes_in: Int[Tensor, " n"] = field(repr=False)
    holding: Int[Tensor, " m"] = field(repr=False)
    reached: Bool[Tensor, " n"] = field(repr=False)
    holding_clipped: Int[Tensor, " m"] | None = field(default=None, repr=False)
    holding_clipped_real: Int[Tensor, " n"] | None = field(default=None, repr=False)
    repeats_fake: Bool[Tensor, " m"] | None = field(default=None, repr=False)
    repeats_real: Bool[Tensor, " m"] | None = field(default=None, repr=False)
    repeated: Bool[Tensor, " n"] | None = field(default=None, repr=False)
    radius: float = float("nan")
    kernel_real: Float[Tensor, " n"] | None = field(default=None, repr=False)
    kernel_fake: Float[Tensor, " m"] | None = field(default=None, repr=False)
    kernel_of_real: Float[Tensor, " n"] | None = field(default=None, repr=False)
    kernel_of_fake: Float[Tensor, " m"] | None = field(default=None, repr=False)


class RealSide:
    """The data's side of a pass, made once where many sets of fakes are held against the same data.

    Args:
        real: embeddings of data, `[n, d]`.
        k: which nearest neighbour sets a ball's radius.
        clipped: whether balls clipped at the median radius are looked at too.
        repeats: whether near-duplicates are.
        kernel: whether the sums of the kernel distance are taken.
        closeness: what part of the data's spacing counts as the same.
        size: rows and columns of a block; it never changes an answer.
        late: leave all that must wait for the device to the end of the pass; by default where it is a GPU.
        team: who shares the pass, each with all rows; see `compare_over_ranks`.

    Raises:
        ShapeError: `real` is not 2-D, has `k` rows or fewer, or rows are not finite.
        UsageError: `k` is below 1 or not whole, or `size` or `closeness` makes no sense.
    """

    def __init__(
        self,
        real: Samples,
        *,
        k: int = 5,
        clipped: bool = True,
        repeats: bool = True,
        kernel: bool = True,
        closeness: float = CLOSENESS,
        size: Size | None = None,
        late: bool | None = None,
        team: Team = ALONE,
    ) -> None:
        if k != int(k) or k < 1 or (size is not None and min(size) < 1):
            raise UsageError(f"k and the sides of a block must be whole and at least 1, got k={k} and size={size}")
        if not closeness >= 0:
            raise UsageError(f"closeness must be 0 or more, got {closeness}")
        self.real = samples(real, name="real", rows=k + 1)
        self.k = k
        self._clipped, self._repeats, self._kernel = clipped, repeats, kernel
        self._closeness, self._size, self._team = closeness, size, team
        self._late = self.real.is_cuda if late is None else late
        self.centre = inmost(self.real)
        self._rows = Rows.late(self.real, centre=self.centre, dtype=torch.float32)
        self._shifts = Shifts.of(self._rows, self.centre) if kernel else None
        self.among = self._look(self.real, self._rows, self._shifts)

    def against(self, fake: Samples) -> Comparison:
        """Hold fakes `[m, d]` against the data.

        Raises:
            ShapeError: `fake` is not as wide as the data, has `k` rows or fewer, or rows are not finite.
        """
        _, fake = two_samples(self.real, fake, rows=self.k + 1)
        rows = Rows.late(fake, centre=self.centre, dtype=torch.float32)
        shifts = None if self._shifts is None else Shifts.of(rows, self.centre)
        theirs = self._look(fake, rows, shifts)
        seen = between(
            real=Side(self.real, self._rows, self.among.radii, self.among.uncertain),
            fake=Side(fake, rows, theirs.radii, theirs.uncertain),
            clip=middle(self.among.radii) if self._clipped else None,
            closest=self._repeats,
            shifts=None if self._shifts is None or shifts is None else (self._shifts, shifts),
            size=self._size,
            team=self._team,
        )
        if self._late:
            self.among, theirs = self.among.settled(self.real, self.centre), theirs.settled(fake, self.centre)
            seen.know(real=self.among.radii, fake=theirs.radii, clip=middle(self.among.radii))
        seen.settle(self.centre)
        return self._comparison(seen, theirs)

    def _look(self, x: Tensor, rows: Rows, shifts: Shifts | None) -> Among:
        found = among(x, rows, self.k, shifts=shifts, size=self._size, team=self._team)
        return found if self._late else found.settled(x, self.centre)

    def _comparison(self, seen: Between, theirs: Among) -> Comparison:
        more: dict[str, Tensor | None] = {}
        radius = float("nan")
        if seen.clipped is not None:
            more["holding_clipped"] = seen.clipped.holding
            more["holding_clipped_real"] = _held_by_clipped(self.among)
        if seen.closest is not None:
            reach = self._closeness * middle(self.among.spacing)
            more["repeated"], more["repeats_real"] = seen.closest.repeats(reach, self.centre)
            more["repeats_fake"] = theirs.spacing <= reach
            radius = float(reach)
        if self._kernel:
            more["kernel_real"], more["kernel_fake"] = self.among.kernel, theirs.kernel
            more["kernel_of_real"], more["kernel_of_fake"] = seen.kernel_of_real, seen.kernel_of_fake
        return Comparison(
            k=self.k,
            fakes_in=seen.balls.fakes_in.cpu(),
            holding=seen.balls.holding.cpu(),
            reached=seen.reached.reached.cpu(),
            radius=radius,
            **{name: None if vector is None else vector.cpu() for name, vector in more.items()},
        )


def middle(values: Tensor) -> Tensor:
    """The median as numpy takes it, the mean of the two middle ones of an even number; 0-d, on the device."""
    ordered = values.sort().values
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _held_by_clipped(side: Among) -> Tensor:
    """How many other rows' clipped balls hold each row: those that count it among their k nearest, near enough."""
    near = side.distances <= middle(side.radii)
    return torch.zeros(len(near), dtype=torch.int64, device=near.device).index_add_(
        0, side.indices.flatten(), near.flatten().long()
    )


def inmost(x: Tensor) -> Tensor:
    """A point amid the rows: the coordinate-wise median of some. A mean would follow rows that have exploded.

    No answer depends on which point it is, only the digits that are left to find it with.
    """
    median: Tensor = x[:: max(1, len(x) // _CENTRED_ON)].float().median(dim=0).values
    return median.clamp_(-1e30, 1e30).double()
