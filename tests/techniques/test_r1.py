"""R1: the slope of D at real samples."""

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
from torch import Tensor

from gandiag.techniques.r1 import squared_slope


def test_a_linear_critic_has_the_slope_of_its_weights() -> None:
    """D(x) = 3 x_1 + 4 x_2 has the squared slope 25 at each sample, exactly."""
    x = torch.randn(5, 2, requires_grad=True)
    slopes = squared_slope(x @ torch.tensor([[3.0], [4.0]]), x)
    assert torch.equal(slopes, torch.full((5,), 25.0))


def test_a_pack_has_one_slope() -> None:
    """D of two samples at a time, 3 x_1 + 4 x_2 of each: the pack's slope has 25 from each sample."""
    x = torch.randn(6, 2, requires_grad=True)
    slopes = squared_slope(x.view(3, 4) @ torch.tensor([[3.0], [4.0], [3.0], [4.0]]), x, pack=2)
    assert torch.equal(slopes, torch.full((3,), 50.0))


class ByHand(Hand):
    """gamma / 2 * E |dD/dx|^2 at the real batch, every n-th step n times as strong."""

    def __init__(self, *, gamma: float, every: int = 1) -> None:
        self.gamma, self.every, self.count = gamma, every, 0

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor | None:
        self.count += 1
        if (self.count - 1) % self.every:
            return None
        x = real.detach().requires_grad_()
        (slope,) = torch.autograd.grad(s.d.logits(x).sum(), x, create_graph=True)
        return self.every * self.gamma / 2 * slope.square().flatten(1).sum(1).mean()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit: the same term's gradient is added to the same gradients."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["r1:gamma=0.5"], tmp_path)
    train(STYLES[style], theirs, ByHand(gamma=0.5))
    assert_same(ours.tensors(), theirs.tensors())


def test_lazy_regularisation_equals_the_hand_written_loop(tmp_path: Path) -> None:
    """every=3 acts at steps 1, 4, 7 and so on, three times as strong."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    run = watched(dcgan, ours, ["r1:gamma=0.5,every=3"], tmp_path)
    train(dcgan, theirs, ByHand(gamma=0.5, every=3))
    assert_same(ours.tensors(), theirs.tensors())
    assert run.interventions.counts == {"r1": 17}


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A DCGAN-like D that ends in a 4x4 convolution and a sigmoid is read before the sigmoid."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    watched(dcgan, ours, ["r1:gamma=0.5"], tmp_path)
    train(dcgan, theirs, ByHand(gamma=0.5))
    assert_same(ours.tensors(), theirs.tensors())
