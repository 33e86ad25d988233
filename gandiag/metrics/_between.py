"""Real against fake: who lies in whose ball, and how far the nearest one is.

Each question is "is this distance at most that radius", asked twice: with the radius as much smaller and as much larger
as rounding demands. Where both answers agree they are right. Where they differ, the row and the block are noted, and
answered exactly when the pass is over; so the pass itself never waits for the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gandiag.metrics._exact import nearest, within_reach
from gandiag.metrics._kernel import Shifts, cubes
from gandiag.metrics._team import ALONE, Team
from gandiag.metrics._tiles import Block, Rows, blocks, parts, small_block_size


class Side:
    """One of the two sets: its rows as given and as the products take them, and its balls.

    Args:
        x: rows as they were given, `[n, d]`.
        rows: the same, centred and rounded.
        radii: of the balls around them, `[n]` float64.
        uncertain: balls whose radius is not known yet.

    Attributes:
        asked: balls that only an exact look can answer for.
    """

    def __init__(self, x: Tensor, rows: Rows, radii: Tensor, uncertain: Tensor) -> None:
        self.x, self.rows, self.radii, self.asked = x, rows, radii, uncertain | rows.lost

    def bounds(self, radii: Tensor) -> tuple[Tensor, Tensor]:
        """Squared radii `[n]` that are surely small enough, and surely large enough."""
        rounding = self.rows.rounding(radii)
        squared, dtype = radii.square(), self.rows.norms.dtype
        return (squared - rounding).to(dtype), (squared + rounding).to(dtype)


class Balls:
    """Which fakes lie in the balls of the reals, counted from both sides.

    Attributes:
        fakes_in: `[n]` fakes in each real ball.
        holding: `[m]` real balls that hold each fake.
    """

    def __init__(self, real: Side, fake: Side, radii: Tensor, numbers: int, mine: Tensor) -> None:
        self._real, self._fake, self._radii, self._mine = real, fake, radii, mine
        self._low, self._high = real.bounds(radii)
        n, m, device = len(real.x), len(fake.x), real.x.device
        self.fakes_in = torch.zeros(n, dtype=torch.int64, device=device)
        self.holding = torch.zeros(m, dtype=torch.int64, device=device)
        self._open = torch.zeros(numbers, n, dtype=torch.bool, device=device)
        self._open |= real.asked & mine

    def know(self, radii: Tensor) -> None:
        """Take in the radii that were uncertain; where another one changed, nothing that was counted holds."""
        changed = (radii != self._radii) & ~self._real.asked
        if changed.any():
            self.fakes_in.zero_()
            self.holding.zero_()
            self._open.copy_(self._mine.expand_as(self._open))
        self._radii = radii

    def see(self, block: Block, spare: Tensor) -> None:
        """Count one block; `spare` is overwritten."""
        rows, columns, number, d2 = block
        possible = torch.le(d2, self._high[rows, None], out=spare).sum(dim=1)
        surely = torch.le(d2, self._low[rows, None], out=spare)
        sure = surely.sum(dim=1)
        self._open[number, rows] |= possible != sure
        closed = ~self._open[number, rows]
        self.fakes_in[rows] += (sure * closed).long()
        self.holding[columns] += torch.mv(surely.T, closed.to(d2.dtype)).long()

    def settle(self, centre: Tensor, wide: int) -> None:
        """Count, exactly, what was left open."""
        for number, columns in enumerate(parts(len(self._fake.x), wide)):
            rows = self._open[number].nonzero().flatten()
            if len(rows):
                inside = within_reach(self._real.x[rows], self._fake.x[columns], self._radii[rows, None], centre=centre)
                self.fakes_in[rows] += inside.sum(dim=1)
                self.holding[columns] += inside.sum(dim=0)


class Reached:
    """Which reals lie in the ball of any fake.

    Attributes:
        reached: `[n]` whether a real does.
    """

    def __init__(self, real: Side, fake: Side, numbers: int, mine: Tensor) -> None:
        self._real, self._fake, self._radii, self._mine = real, fake, fake.radii, mine
        self._low, self._high = fake.bounds(fake.radii)
        self._low = self._low.masked_fill(fake.asked, -torch.inf)  # they are asked at the end
        self._high = self._high.masked_fill(fake.asked, -torch.inf)
        n, device = len(real.x), real.x.device
        self.reached = torch.zeros(n, dtype=torch.bool, device=device)
        self._open = torch.zeros(numbers, n, dtype=torch.bool, device=device)

    def see(self, block: Block, spare: Tensor) -> None:
        """Look at one block; `spare` is overwritten."""
        rows, columns, number, d2 = block
        self._open[number, rows] = torch.sub(d2, self._high[columns], out=spare).amin(dim=1) <= 0
        self.reached[rows] |= torch.sub(d2, self._low[columns], out=spare).amin(dim=1) <= 0

    def know(self, radii: Tensor) -> None:
        """Take in the radii that were uncertain."""
        self._radii = radii

    def settle(self, centre: Tensor, wide: int) -> None:
        """Answer, exactly, what was left open."""
        real, fake, radii = self._real, self._fake, self._radii
        for number, columns in enumerate(parts(len(fake.x), wide)):
            self._ask((self._open[number] & ~self.reached).nonzero().flatten(), columns, centre)
        late = fake.asked.nonzero().flatten()
        rows = self._mine.nonzero().flatten()
        if len(late) and len(rows):
            inside = within_reach(real.x[rows], fake.x[late], radii[None, late], centre=centre)
            self.reached[rows] |= inside.any(dim=1)

    def _ask(self, rows: Tensor, columns: slice, centre: Tensor) -> None:
        if len(rows):
            inside = within_reach(self._real.x[rows], self._fake.x[columns], self._radii[None, columns], centre=centre)
            self.reached[rows] = inside.any(dim=1)


class Closest:
    """How far the nearest row of the other set is, from both sides.

    Attributes:
        to_fake: `[n]` squared, of each real; `to_real`: `[m]`, of each fake.
    """

    def __init__(self, real: Side, fake: Side) -> None:
        self._real, self._fake = real, fake
        self.to_fake = torch.full_like(real.rows.norms, torch.inf)
        self.to_real = torch.full_like(fake.rows.norms, torch.inf)

    def see(self, block: Block) -> None:
        """Look at one block."""
        rows, columns, _, d2 = block
        self.to_fake[rows] = torch.minimum(self.to_fake[rows], d2.amin(dim=1))
        self.to_real[columns] = torch.minimum(self.to_real[columns], d2.amin(dim=0))

    def repeats(self, radius: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
        """Whether a real `[n]`, and a fake `[m]`, has a row of the other set within `radius`; exact."""
        return (
            _close(self._real, self._fake, self.to_fake, radius, centre),
            _close(self._fake, self._real, self.to_real, radius, centre),
        )


def _close(a: Side, b: Side, d2: Tensor, radius: Tensor, centre: Tensor) -> Tensor:
    rounding = a.rows.rounding(radius.expand(len(d2)))
    excess = d2.double() - radius.square()
    close = excess <= 0
    which = ((excess.abs() <= rounding) | a.rows.lost).nonzero().flatten()
    if len(which):
        close[which] = nearest(a.x, which, b.x, 1, centre=centre)[0][:, 0] <= radius
    return close


@dataclass(frozen=True, eq=False)
class Between:
    """What a pass over real and fake has seen; `None` where it was not asked to look."""

    balls: Balls
    clipped: Balls | None
    reached: Reached
    closest: Closest | None
    kernel_of_real: Float[Tensor, " n"] | None
    kernel_of_fake: Float[Tensor, " m"] | None
    wide: int
    team: Team

    def know(self, *, real: Tensor, fake: Tensor, clip: Tensor) -> None:
        """Take in the radii that were uncertain during the pass."""
        self.balls.know(real)
        if self.clipped is not None:
            self.clipped.know(torch.minimum(real, clip))
        self.reached.know(fake)

    def settle(self, centre: Tensor) -> None:
        """Answer, exactly, all that was left open, and put together what each of a team has seen.

        The radii must be known by now.
        """
        for balls in (self.balls, self.clipped):
            if balls is not None:
                balls.settle(centre, self.wide)
                self.team.sum(balls.fakes_in, balls.holding)
        self.reached.settle(centre, self.wide)
        self.team.any(self.reached.reached)
        if self.closest is not None:
            self.team.smallest(self.closest.to_fake, self.closest.to_real)
        self.team.sum(self.kernel_of_real, self.kernel_of_fake)


def between(
    *,
    real: Side,
    fake: Side,
    clip: Tensor | None = None,
    closest: bool = False,
    shifts: tuple[Shifts, Shifts] | None = None,
    size: tuple[int, int] | None = None,
    team: Team = ALONE,
) -> Between:
    """Look at all pairs of a real and a fake.

    Args:
        real: the data.
        fake: the generated samples.
        clip: the largest radius of the clipped balls, if they are wanted.
        closest: whether nearest neighbours are.
        shifts: of real's and fake's kernel, if its sums are.
        size: rows and columns of a block.
        team: who shares the pass.
    """
    tall, wide = size or small_block_size(real.x.device)
    wide = max(tall, wide)
    n, m, device = len(real.x), len(fake.x), real.x.device
    numbers, mine = -(-m // wide), team.mine(n, tall, device)
    seen = Between(
        balls=Balls(real, fake, real.radii, numbers, mine),
        clipped=None if clip is None else Balls(real, fake, torch.minimum(real.radii, clip), numbers, mine),
        reached=Reached(real, fake, numbers, mine),
        closest=Closest(real, fake) if closest else None,
        kernel_of_real=None if shifts is None else torch.zeros(n, dtype=torch.float64, device=device),
        kernel_of_fake=None if shifts is None else torch.zeros(m, dtype=torch.float64, device=device),
        wide=wide,
        team=team,
    )
    buffer = real.rows.norms.new_empty(min(tall, n) * min(wide, m))
    for block in blocks(real.rows, fake.rows, size=(tall, wide), share=(team.rank, team.size)):
        spare = buffer[: block.d2.numel()].view(block.d2.shape)
        seen.balls.see(block, spare)
        if seen.clipped is not None:
            seen.clipped.see(block, spare)
        seen.reached.see(block, spare)
        if seen.closest is not None:
            seen.closest.see(block)
        if shifts is not None and seen.kernel_of_real is not None and seen.kernel_of_fake is not None:
            values = cubes(block, *shifts, spare)
            seen.kernel_of_real[block.rows] += values.sum(dim=1)
            seen.kernel_of_fake[block.columns] += values.sum(dim=0)
    return seen
