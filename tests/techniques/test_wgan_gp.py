"""WGAN-GP: the Wasserstein loss with a penalty on slopes other than one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, Hand, Script, assert_same, net_for, own_stream, script, train, watched
from torch import Tensor

from gandiag.techniques.wgan_gp import slope_distance


def test_a_linear_critic_has_the_distance_of_its_slope_from_one() -> None:
    """D(x) = 3 x_1 + 4 x_2 has slope 5, and (5 - 1)^2 = 16 at each sample."""
    x = torch.randn(5, 2, requires_grad=True)
    found = slope_distance(x @ torch.tensor([[3.0], [4.0]]), x)
    torch.testing.assert_close(found, torch.full((5,), 16.0))


def test_a_dead_critic_has_a_finite_gradient() -> None:
    """A slope of exactly zero costs 1 and gives a gradient of zero: not NaN, as the bare root would."""
    weight = torch.zeros(2, 1, requires_grad=True)
    x = torch.randn(5, 2, requires_grad=True)
    loss = slope_distance(x @ weight, x).mean()
    loss.backward()
    torch.testing.assert_close(loss, torch.tensor(1.0), atol=1e-5, rtol=0)
    assert torch.equal(weight.grad, torch.zeros(2, 1))


class ByHand(Hand):
    """Both losses replaced; mixtures from the stream that gandiag uses."""

    def __init__(self, lam: float) -> None:
        self.lam, self.stream = lam, own_stream()

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        share = torch.rand(len(real), 1, generator=self.stream)
        mixed = (share * real + (1 - share) * fake).detach().requires_grad_()
        (slope,) = torch.autograd.grad(s.d.logits(mixed).sum(), mixed, create_graph=True)
        penalty = ((slope.square().sum(1) + 1e-12).sqrt() - 1).square().mean()
        return s.d.logits(fake.detach()).mean() - s.d.logits(real).mean() + self.lam * penalty

    def g_loss(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        # A loop that steps G first has its own loss in the first round: gandiag has seen no real batch yet.
        return None if real is None else -s.d.logits(fake).mean()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit, whatever losses the script has: nothing of them is left."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["wgan_gp:lam=0.3"], tmp_path)
    train(STYLES[style], theirs, ByHand(0.3))
    assert_same(ours.tensors(), theirs.tensors())
