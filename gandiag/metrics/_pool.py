"""Many splits of one pool of data for the price of one pass.

A null asks what the metrics of neighbours would be if the fakes were data: split the data in two at random, measure,
again and again. Each of those measurements would be a pass of its own. But all parts of a pool share its distances: a
row's nearest neighbours within any part are found in the list of its nearest neighbours in the pool, as soon as the
list is a few times longer than k. So the lists are made once, and each split only reads them, in milliseconds. The
same holds for the kernel distance: its sums over each part are one product of the kernel with the parts' indicators.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from scipy.stats import binom
from torch import Tensor

from gandiag.metrics._kernel import Shifts, cubes
from gandiag.metrics._pass import CLOSENESS, Comparison, inmost, middle
from gandiag.metrics._tiles import Nearest, Rows, blocks

REAL, FAKE = 1, 2
"""The part that a row of the pool plays in a split; 0 for none."""

_TOO_SHORT = 1e-7  # chance that a list holds fewer than k rows of a part
_CUT_SHORT = 0.001  # share of lists that may end where the ball does
_BLURRED = 0.01  # rounding over squared distance, and the share of rows, beyond which float64 is needed


class Pool:
    """Rows of data that are to be split many times.

    A split's answers are those of a pass over its parts, but for few rows: distances that float32 cannot tell apart are
    taken as equal, and where a list is too short, as one in millions is, the ball ends with it. Means over splits, for
    which this is, do not notice.

    Args:
        rows: the data, `[n, d]`.
        roles: the part of each row in each split: `REAL`, `FAKE` or 0.
        k: which nearest neighbour sets a ball's radius.
    """

    def __init__(self, rows: Tensor, roles: Int[Tensor, "splits n"], *, k: int = 5) -> None:
        self._roles, self._k = roles, k
        fewest = min(int((roles == part).sum(dim=1).min()) for part in (REAL, FAKE))
        self._length = min(len(rows) - 1, list_length(k, fewest / len(rows)))
        centre = inmost(rows)
        self._rows = Rows.late(rows, centre=centre, dtype=torch.float32)
        self._look(Shifts.of(self._rows, centre))
        if self._blurred():
            self._rows = Rows.late(rows, centre=centre, dtype=torch.float64)
            self._look(Shifts.of(self._rows, centre))
        while self._length < len(rows) - 1 and self._cut_short():
            self._length = min(4 * self._length, len(rows) - 1)
            self._look(Shifts.of(self._rows, centre))

    def split(self, number: int) -> Comparison:
        """What a pass over the real and the fake part of a split would see."""
        roles, k = self._roles[number], self._k
        real, fake = (roles == REAL).nonzero().flatten(), (roles == FAKE).nonzero().flatten()
        part = roles[self._neighbours]
        own = part == roles[:, None]
        other = (part != 0) & ~own

        rank = own.cumsum(dim=1)
        radii = self._radii(rank)
        first = self._distances.gather(1, own.int().argmax(dim=1)[:, None])[:, 0]
        spacing = first.masked_fill(~own.any(dim=1), torch.inf)
        reach = CLOSENESS * middle(spacing[real])

        inside = self._within(radii)
        small = inside & self._within(middle(radii[real]).expand_as(radii))
        ball = inside & other
        close = self._within(reach.expand_as(radii))
        close_to_own, close_to_other = (close & own).any(dim=1), (close & other).any(dim=1)
        reached = torch.zeros_like(roles, dtype=torch.bool)
        reached[self._neighbours[fake][ball[fake]]] = True
        return Comparison(
            k=k,
            fakes_in=ball[real].sum(dim=1),
            holding=self._held(ball, by=real)[fake],
            reached=reached[real],
            holding_clipped=self._held(small & other, by=real)[fake],
            holding_clipped_real=self._held(small & own & (rank <= k), by=real)[real],
            repeats_fake=close_to_own[fake],
            repeats_real=close_to_other[fake],
            repeated=close_to_other[real],
            radius=float(reach),
            kernel_real=self._kernel[real, number, 0],
            kernel_fake=self._kernel[fake, number, 1],
            kernel_of_real=self._kernel[real, number, 1],
            kernel_of_fake=self._kernel[fake, number, 0],
        )

    def _look(self, shifts: Shifts) -> None:
        """One pass: neighbours of each row, nearest first, and the kernel's sums over each part of each split."""
        rows, (splits, n) = self._rows, self._roles.shape
        indicators = torch.stack([self._roles == REAL, self._roles == FAKE], dim=1)
        indicators = indicators.view(2 * splits, n).T.to(rows.norms.dtype, memory_format=torch.contiguous_format)
        found = Nearest(n, self._length, rows.norms)
        sums = torch.zeros(n, 2 * splits, dtype=torch.float64, device=rows.norms.device)
        for block in blocks(rows, rows):
            here, columns, _, d2 = block
            beyond = max(0, min(here.stop, columns.stop) - columns.start)
            right = slice(columns.start + beyond, columns.stop)
            found.see(here, d2, first=columns.start)
            if beyond < d2.shape[1]:
                found.see(right, d2[:, beyond:], first=here.start, dim=0)
            kernel = cubes(block, shifts, shifts, d2)
            if beyond:
                kernel[:, :beyond].diagonal().zero_()
            sums[here] += kernel @ indicators[columns]
            sums[right] += kernel[:, beyond:].T @ indicators[here]
        squared, self._neighbours = found.ascending()
        self._distances = squared.double().clamp_(min=0).sqrt_()
        self._kernel = sums.view(n, splits, 2)

    def _radii(self, rank: Tensor) -> Tensor:
        """The distance to the k-th neighbour of a row's own part, given how many of them come up to each place."""
        place = (rank < self._k).sum(dim=1).clamp(max=self._length - 1)
        return self._distances.gather(1, place[:, None])[:, 0]

    def _cut_short(self) -> bool:
        """Whether many lists end amid rows that are as far as the k-th: data of few different values are like that."""
        roles = self._roles[0]
        rank = (roles[self._neighbours] == roles[:, None]).cumsum(dim=1)
        return float(self._within(self._radii(rank))[:, -1].double().mean()) > _CUT_SHORT

    def _blurred(self) -> bool:
        """Whether rounding is not small beside the smallest distance that is asked about, at which rows repeat."""
        reach = CLOSENESS * middle(self._distances[:, 0])
        unclear = self._rows.rounding(self._distances[:, 0]) > _BLURRED * reach.square()
        return float(unclear.double().mean()) > _BLURRED

    def _within(self, radii: Tensor) -> Bool[Tensor, "n neighbours"]:
        limits = (radii.square() + self._rows.rounding(radii)).sqrt()
        return self._distances <= limits[:, None]

    def _held(self, pairs: Tensor, *, by: Tensor) -> Int[Tensor, " n"]:
        """How many of the rows `by` hold each row, given who holds whom in the lists."""
        held = self._neighbours[by][pairs[by]]
        return torch.bincount(held, minlength=len(self._neighbours))


def list_length(k: int, share: float) -> int:
    """Neighbours to list, so that k of them are in a part with such a share of the pool, but for one row in millions.

    The number among `l` that are in the part is binomial.
    """
    long = 2 * k
    while binom.cdf(k - 1, long, share) > _TOO_SHORT:
        long += max(1, long // 16)
    return long
