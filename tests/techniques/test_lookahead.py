"""Lookahead-minmax."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    ConvD,
    ConvG,
    Hand,
    Script,
    assert_same,
    dcgan,
    net_for,
    pictures,
    script,
    train,
    watched,
)
from torch import nn

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.lookahead import Lookahead


def test_a_quarter_of_the_way_every_second_round() -> None:
    """From 0 the fast weights go to 4, then 8: pulled to 2. On to 10: pulled to 2 + 8 / 4 = 4."""
    g, d = (nn.Linear(1, 1, bias=False) for _ in range(2))
    technique = Lookahead(k=2, alpha=0.25)
    with torch.no_grad():
        g.weight.zero_()
        d.weight.zero_()
    technique.start([g])
    technique.prepare(d, beside={}, generator=torch.Generator())
    for fast, wanted in ((4.0, 4.0), (8.0, 2.0), (6.0, 6.0), (10.0, 4.0)):
        for net in (g, d):
            with torch.no_grad():
                net.weight.fill_(fast)
        technique.after_iteration(g_nets=[g], d_nets=[d])
        assert g.weight == d.weight == wanted


class ByHand(Hand):
    """Copies of both nets made before the loop; the authors' update, after each k-th step of G."""

    def __init__(self, s: Script, *, k: int, alpha: float) -> None:
        self.slow = [p.detach().clone() for p in (*s.g.parameters(), *s.d.parameters())]
        self.k, self.alpha, self.iteration = k, alpha, 0

    def after_g_step(self, s: Script) -> None:
        self.iteration += 1
        if self.iteration % self.k == 0:
            for slow, fast in zip(self.slow, (*s.g.parameters(), *s.d.parameters()), strict=True):
                slow += (fast.data - slow) * self.alpha
                fast.data.copy_(slow)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6, optimizer states too: the way back is a weighted mean here, a difference there."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["lookahead:k=3,alpha=0.7"], tmp_path)
    train(STYLES[style], theirs, ByHand(theirs, k=3, alpha=0.7))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """The defaults."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    watched(dcgan, ours, ["lookahead"], tmp_path)
    train(dcgan, theirs, ByHand(theirs, k=5, alpha=0.5))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


@pytest.mark.parametrize("wrong", ["k=0", "k=1", "alpha=0", "alpha=1"])
def test_what_would_not_look_ahead_is_refused(wrong: str) -> None:
    """Each names itself."""
    with pytest.raises(UsageError, match=wrong.partition("=")[0]):
        parse(f"lookahead:{wrong}")
