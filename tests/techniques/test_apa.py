"""Adaptive pseudo augmentation: fakes in the place of real samples, as many as D overfits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, Hand, Script, assert_same, net_for, own_stream, script, train, watched
from torch import Tensor
from torch.nn import functional

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.apa import overfitting


def test_a_d_that_is_sure_of_three_of_four() -> None:
    """(1 + 1 + 1 - 1) / 4."""
    assert overfitting(torch.tensor([0.5, 3.0, 0.1, -2.0])) == 0.5


class ByHand(Hand):
    """The reals that D sees, and a probability that follows its logits on the true ones."""

    def __init__(self, style: str) -> None:
        self.style, self.p, self.signs, self.stream = style, 0.0, [], own_stream()
        self.fooled = 0

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        draws = torch.rand(len(real), generator=self.stream).tolist()
        shown = torch.stack([f if u < self.p else r for u, f, r in zip(draws, fake.detach(), real, strict=True)])
        self.fooled += sum(u < self.p for u in draws)
        self.signs += s.d.logits(real).detach().sign().flatten().tolist()
        if len(self.signs) == 4 * len(real):
            mean = sum(self.signs) / len(self.signs)
            self.p = min(1.0, max(0.0, self.p + (mean > 0.2) * 64 / 800 - (mean < 0.2) * 64 / 800))
            self.signs = []
        d_real, d_fake = s.d.logits(shown), s.d.logits(fake.detach())
        if self.style == "n_critic":
            return d_fake.mean() - d_real.mean()
        loss = functional.softplus(-d_real).mean() + functional.softplus(d_fake).mean()
        return loss / 2 if self.style == "g_first" else loss


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: what the script's reals sent is taken back, and what the exchanged ones send is put in its place."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["apa:target=0.2,over=800"], tmp_path)
    hand = ByHand(style)
    train(STYLES[style], theirs, hand)
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)
    assert hand.fooled > 10


def test_targets_that_cannot_be_met_are_refused() -> None:
    """E sign D(real) of 1 is a D that is always right."""
    with pytest.raises(UsageError, match="target must lie between 0 and 1"):
        parse("apa:target=1")
