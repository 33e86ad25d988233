"""Replay: old fakes among the new ones in D's step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, Hand, Script, assert_same, net_for, own_stream, script, train, watched
from torch import Tensor
from torch.nn import functional

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.replay import Pool


def test_nothing_comes_out_before_the_pool_is_full() -> None:
    """Three rows go into a pool of four, then one more, and the batches stay as they are."""
    pool, stream = Pool(4), torch.Generator().manual_seed(0)
    for batch in (torch.arange(3.0)[:, None], torch.arange(3.0, 6.0)[:, None]):
        assert torch.equal(pool.exchange(batch, 1.0, stream), batch)
    assert pool.rows is not None
    assert pool.rows.flatten().tolist() == [0.0, 1.0, 2.0, 3.0]


def test_no_row_is_lost_or_doubled() -> None:
    """What goes in comes out or stays: over 20 batches all rows ever seen are in the batches or in the pool, once."""
    pool, stream, shown = Pool(8), torch.Generator().manual_seed(0), []
    batches = torch.arange(100.0).view(20, 5, 1)
    for batch in batches:
        shown.append(pool.exchange(batch, 0.5, stream))
    assert pool.rows is not None
    # The first eight went in and were shown as well; each batch shows as many as it got.
    assert sorted(torch.cat([*shown, pool.rows]).flatten().tolist()) == sorted([*range(100), *range(8)])
    assert sum(int((s != b).sum()) for s, b in zip(shown, batches, strict=True)) > 20


class ByHand(Hand):
    """The pool as a list of rows; D's step with the exchanged fakes, G's with its own."""

    def __init__(self, style: str, size: int, p: float) -> None:
        self.style, self.size, self.p = style, size, p
        self.stream, self.pool = own_stream(), []

    def mix(self, fake: Tensor) -> Tensor:
        rows = list(fake.detach())
        if len(self.pool) < self.size:
            self.pool += rows[: self.size - len(self.pool)]
            return torch.stack(rows)
        places = torch.randperm(self.size, generator=self.stream)[: len(rows)].tolist()
        swap = (torch.rand(len(places), generator=self.stream) < self.p).tolist()
        for i, (place, swapped) in enumerate(zip(places, swap, strict=True)):
            if swapped:
                rows[i], self.pool[place] = self.pool[place], rows[i]
        return torch.stack(rows)

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        d_real, d_fake = s.d.logits(real), s.d.logits(self.mix(fake))
        if self.style == "n_critic":
            return d_fake.mean() - d_real.mean()
        loss = functional.softplus(-d_real).mean() + functional.softplus(d_fake).mean()
        return loss / 2 if self.style == "g_first" else loss


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: what the script's fakes sent is taken back, and what the exchanged ones send is put in its place."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["replay:size=40,p=0.5"], tmp_path)
    train(STYLES[style], theirs, ByHand(style, 40, 0.5))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_a_loss_that_is_not_known_is_refused(tmp_path: Path) -> None:
    """A relativistic loss of the script's own judges pairs: what it would make of other fakes cannot be told."""

    def loop(s: Script, hand: Hand) -> None:
        for real in s.batches:
            s.optimizer_d.zero_grad()
            fake = s.g(torch.randn(len(real), 2)).detach()
            functional.softplus(s.d(fake) - s.d(real)).mean().backward()
            s.optimizer_d.step()

    s = script()
    before = s.tensors()
    with pytest.raises(TechniqueRefused, match="replay must know"):
        watched(loop, s, ["replay"], tmp_path)
    assert_same(s.tensors(), before)


def test_what_means_nothing_is_refused() -> None:
    """A pool for none, a probability above one."""
    with pytest.raises(UsageError, match="size must be above zero"):
        parse("replay:size=0")
    with pytest.raises(UsageError, match="p must lie in"):
        parse("replay:p=1.5")
