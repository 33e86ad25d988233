"""The healthy recipes' loss."""

from __future__ import annotations

import torch
from torch import nn

from gandiag.demo import losses


def test_on_a_linear_discriminator_the_loss_is_what_the_formula_says() -> None:
    """D(x) = w·x has slope w everywhere: softplus(D(fake) - D(real)) + gamma / 2 * (|w|² + |w|²)."""
    net = nn.Linear(2, 1, bias=False)
    nn.init.constant_(net.weight, 3.0)
    real, fake = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.5]])
    expected = torch.log1p(torch.exp(torch.tensor(-1.5))) + 0.1 / 2 * (18 + 18)
    torch.testing.assert_close(losses.relativistic_d_loss(net, real, fake, 0.1), expected)
    torch.testing.assert_close(losses.relativistic_g_loss(net, real, fake), torch.log1p(torch.exp(torch.tensor(1.5))))


def test_the_discriminators_loss_leaves_the_generator_alone() -> None:
    """The fakes come with their graph; no gradient may flow into it."""
    fake = torch.zeros(1, 2, requires_grad=True)
    losses.relativistic_d_loss(nn.Linear(2, 1), torch.ones(1, 2), fake, 0.1).backward()
    assert fake.grad is None
