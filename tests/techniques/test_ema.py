"""EMA: an exponential moving average of G's weights."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, G, Hand, Script, assert_same, dcgan, net_for, script, train, watched
from torch import nn

from gandiag.techniques.ema import EMA


def test_one_step_of_an_average() -> None:
    """decay 0.75, weight 0 then 4: the average is 1, then 1.75; a buffer is copied."""
    net = nn.BatchNorm1d(1)
    with torch.no_grad():
        net.weight.zero_()
    ema = EMA(decay=0.75)
    ema.start([net])
    for wanted in (1.0, 1.75):
        with torch.no_grad():
            net.weight.fill_(4)
            net.running_mean.fill_(8)
        ema.after_g_step([net])
        assert ema.averages()["weight"] == wanted
        assert ema.averages()["running_mean"] == 8


class ByHand(Hand):
    """A deep copy made before the loop, moved after each step of G."""

    def __init__(self, g: nn.Module, decay: float) -> None:
        self.average, self.decay = copy.deepcopy(g), decay

    def after_g_step(self, s: Script) -> None:
        with torch.no_grad():
            for average, weight in zip(self.average.parameters(), s.g.parameters(), strict=True):
                average.lerp_(weight, 1 - self.decay)
            for average, buffer in zip(self.average.buffers(), s.g.buffers(), strict=True):
                average.copy_(buffer)


class NormG(G):
    """G with buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers.insert(1, nn.BatchNorm1d(self.layers[0].out_features))


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """The averages equal the copy's bit for bit, and the training is that of a loop without gandiag."""
    ours, theirs = (script(g=NormG, d=net_for(style), optimizer=optimizer) for _ in range(2))
    run = watched(STYLES[style], ours, ["ema:decay=0.9"], tmp_path)
    hand = ByHand(theirs.g, 0.9)
    train(STYLES[style], theirs, hand)
    assert_same(ours.tensors(), theirs.tensors())
    assert_same(run.averages(), hand.average.state_dict())


def test_tied_weights_are_averaged_under_both_names(tmp_path: Path) -> None:
    """A weight that G holds twice is a parameter under each name, not a buffer to be copied."""

    class Tied(G):
        def __init__(self) -> None:
            super().__init__()
            self.again = self.layers

    ours = script(g=Tied, d=net_for("dcgan"))
    run = watched(dcgan, ours, ["ema:decay=0.9"], tmp_path)
    averages = run.averages()
    assert torch.equal(averages["layers.0.weight"], averages["again.0.weight"])
    assert not torch.equal(averages["layers.0.weight"], ours.g.layers[0].weight)
