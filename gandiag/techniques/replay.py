"""Replay: part of what D sees as fake is taken from a pool of old fakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gandiag.errors import UsageError
from gandiag.techniques.base import Batch, Card, Technique, positive, technique


@dataclass
class Pool:
    """Old fakes.

    Attributes:
        size: how many at most.
        rows: (at most size, ...); None as long as there are none.
    """

    size: int
    rows: Tensor | None = None

    def exchange(self, fake: Float[Tensor, "n ..."], p: float, generator: torch.Generator) -> Float[Tensor, "n ..."]:
        """The batch with each row exchanged, with probability `p`, for an old one that it replaces in the pool.

        As long as the pool is not full, rows go in and none comes out. Of a batch larger than the pool the rows beyond
        its size stay as they are.

        Source: Shrivastava et al. 2017, arXiv:1612.07828, section 2.3, with the probabilities of the buffer of
        CycleGAN's authors. There rows go one by one and two of a batch may meet in one place; here places are distinct.

        Args:
            fake: new fakes, no graph.
            p: probability of each.
            generator: for the places and the choice.
        """
        held = fake[:0] if self.rows is None else self.rows
        if len(held) < self.size:
            self.rows = torch.cat([held, fake[: self.size - len(held)]])
            return fake
        places = torch.randperm(self.size, device=fake.device, generator=generator)[: len(fake)]
        new, old = fake[: len(places)], held[places]
        swap = torch.rand(len(places), device=fake.device, generator=generator) < p
        swap = swap.view(-1, *[1] * (fake.ndim - 1))
        self.rows = held.index_copy(0, places, torch.where(swap, new, old))
        return torch.cat([torch.where(swap, old, new), fake[len(places) :]])


@technique(
    Card(
        name="replay",
        summary="Shows D old fakes among the new ones, so that it does not forget what G has left behind.",
        treats={"GD203": 0.4, "GD105": 0.35},
        source="Shrivastava et al. 2017, arXiv:1612.07828, section 2.3",
        seams=("gradients",),
        cost=1.85,
        cautions=(
            "old fakes are no samples of the present G: a D that compares the samples of a batch sees a mixture",
            "fakes are stored without their labels: with a conditional D their labels are those of the new ones",
        ),
        conflicts=("pacgan", "minibatch_discrimination", "minibatch_stddev"),
        snippet="""\
if len(pool) < {size}:                                                  # pool: begins as x_fake.detach()[:0]
    pool, shown = torch.cat([pool, x_fake.detach()])[:{size}], x_fake.detach()
else:
    places, new = torch.randperm({size})[: len(x_fake)], x_fake.detach()
    swap = (torch.rand(len(places)) < {p}).view(-1, *[1] * (x_fake.ndim - 1))
    shown, pool[places] = torch.where(swap, pool[places], new), torch.where(swap, new, pool[places])
# D's loss of the fakes is that of D(shown)""",
    )
)
@dataclass
class Replay(Technique):
    """Replay of old fakes in D's step; G learns from new ones only.

    Attributes:
        size: fakes in the pool, above zero; 50 in CycleGAN with batches of one, so a few batches. At least a batch.
        p: probability that a fake is exchanged for an old one, in (0, 1].
    """

    reads_own_loss: ClassVar[bool] = True
    size: int = 512
    p: float = 0.5
    _pools: dict[nn.Module, Pool] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Refuse pools that hold nothing and probabilities that are none."""
        positive("replay", size=self.size)
        if not 0 < self.p <= 1:
            raise UsageError(f"technique 'replay': p must lie in (0, 1], got {self.p}")

    def d_loss(self, batch: Batch) -> Tensor:
        """The script's loss with the exchanged batch, less its loss with the batch that it had."""
        pool = self._pools.setdefault(batch.net, Pool(self.size))
        shown = pool.exchange(batch.fake.detach(), self.p, batch.generator)
        changed, plain = (batch.own.fake(batch.critic(x, like="fake")).mean() for x in (shown, batch.fake))
        return changed - plain
