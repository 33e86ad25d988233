"""RpGAN+R1+R2: the relativistic pairing loss with zero-centred penalties on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.batches import Judge, batch_of, slope_five
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
from torch.nn import functional

from gandiag.techniques import parse
from gandiag.techniques.rpgan_r1_r2 import rpgan_d, rpgan_g


def test_equal_logits_cost_log_two() -> None:
    """Where D cannot tell real from fake both losses are log 2; one apart they are softplus(-1) and softplus(1)."""
    same = torch.zeros(4, 1)
    assert rpgan_d(real=same, fake=same) == torch.tensor(2.0).log()
    torch.testing.assert_close(rpgan_d(real=same + 1, fake=same), functional.softplus(torch.tensor(-1.0)))
    torch.testing.assert_close(rpgan_g(real=same + 1, fake=same), functional.softplus(torch.tensor(1.0)))


def test_a_linear_critic_pays_for_its_slope_twice() -> None:
    """D(x) = 3 x_1 + 4 x_2 on equal batches: log 2 + gamma / 2 * (25 + 25)."""
    x = torch.randn(5, 2)

    batch = batch_of(Judge(slope_five), real=x, fake=x)
    loss = parse("rpgan_r1_r2:gamma=0.2").d_loss(batch)
    torch.testing.assert_close(loss, torch.tensor(2.0).log() + 5)


class ByHand(Hand):
    """Both losses replaced, as in R3GAN."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = real.detach().requires_grad_(), fake.detach().requires_grad_()
        d_real, d_fake = s.d.logits(real), s.d.logits(fake)
        (r1,) = torch.autograd.grad(d_real.sum(), real, create_graph=True)
        (r2,) = torch.autograd.grad(d_fake.sum(), fake, create_graph=True)
        penalty = r1.square().flatten(1).sum(1).mean() + r2.square().flatten(1).sum(1).mean()
        return functional.softplus(-(d_real - d_fake)).mean() + self.gamma / 2 * penalty

    def g_loss(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        # A loop that steps G first has its own loss in the first round: gandiag has seen no real batch yet.
        if real is None:
            return None
        return functional.softplus(-(s.d.logits(fake) - s.d.logits(real).detach())).mean()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit, whatever losses the script has: nothing of them is left."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["rpgan_r1_r2:gamma=0.2"], tmp_path)
    train(STYLES[style], theirs, ByHand(0.2))
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A DCGAN-like D that ends in a 4x4 convolution and a sigmoid is read before the sigmoid."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    watched(dcgan, ours, ["rpgan_r1_r2:gamma=0.2"], tmp_path)
    train(dcgan, theirs, ByHand(0.2))
    assert_same(ours.tensors(), theirs.tensors())
