"""Both nets in one optimizer, alone or beside others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._parts import Disc, Gen, Truth, adam, bce, data, noise


def one_group(steps: int, truth: Truth) -> dict[str, Any]:
    """Lecture-notes GANs: both nets in one optimizer and one group; each half lets only its own net learn."""
    g, d = Gen(), Disc()
    both = torch.optim.Adam(list(g.parameters()) + list(d.parameters()), lr=1e-3)
    for _ in range(steps):
        both.zero_grad()
        (bce(d(data()), 1.0) + bce(d(g(noise()).detach()), 0.0)).backward()
        both.step()
        both.zero_grad()
        d.requires_grad_(False)
        bce(d(g(noise())), 1.0).backward()
        d.requires_grad_(True)
        both.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "both": both}


def two_groups(steps: int, truth: Truth) -> dict[str, Any]:
    """One optimizer with a group and a learning rate for each net, D's first."""
    g, d = Gen(), Disc()
    both = torch.optim.Adam([{"params": d.parameters(), "lr": 2e-3}, {"params": g.parameters(), "lr": 1e-3}])
    for _ in range(steps):
        both.zero_grad()
        fake = g(noise())
        (bce(d(data()), 1.0) + bce(d(fake.detach()), 0.0)).backward()
        both.step()
        both.zero_grad()
        bce(d(fake), 1.0).backward()
        for p in d.parameters():
            p.grad = None
        both.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "both": both}


def frozen_by_turns(steps: int, truth: Truth) -> dict[str, Any]:
    """One optimizer over both; requires_grad says whose turn it is, and fakes need no detach."""
    g, d = Gen(), Disc()
    both = torch.optim.RMSprop([*g.parameters(), *d.parameters()], lr=1e-3)
    for _ in range(steps):
        for turn in ("d", "g"):
            g.requires_grad_(turn == "g")
            d.requires_grad_(turn == "d")
            both.zero_grad(set_to_none=True)
            if turn == "d":
                (F.softplus(-d(data())) + F.softplus(d(g(noise())))).mean().backward()
                truth.saw(real_d=1, fake_d=1)
            else:
                F.softplus(-d(g(noise()))).mean().backward()
                truth.saw(fake_g=1)
            both.step()
    return {"g": g, "d": d, "both": both}


def whole_model(steps: int, truth: Truth) -> dict[str, Any]:
    """A module with both nets, and Adam(model.parameters()): one optimizer as in a course's training template."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Gen(), Disc()

        def loss_d(self, x: Tensor) -> Tensor:
            return bce(self.second(x), 1.0) + bce(self.second(self.first(noise()).detach()), 0.0)

        def loss_g(self) -> Tensor:
            self.second.requires_grad_(False)
            loss = bce(self.second(self.first(noise())), 1.0)
            self.second.requires_grad_(True)
            return loss

    model = Model()
    both = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        both.zero_grad()
        model.loss_d(data()).backward()
        both.step()
        both.zero_grad()
        model.loss_g().backward()
        both.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"model": model, "g": model.first, "d": model.second, "both": both}


def gradient_reversal(steps: int, truth: Truth) -> dict[str, Any]:
    """Domain-adversarial training: the gradient is turned round between G and D, and one step moves both."""

    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.view_as(x)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return -gradient

    g, d = Gen(), Disc()
    both = torch.optim.SGD([*g.parameters(), *d.parameters()], lr=0.01, momentum=0.9)
    for _ in range(steps):
        both.zero_grad()
        (bce(d(data()), 1.0) + bce(d(Reverse.apply(g(noise()))), 0.0)).backward()
        both.step()
        truth.saw(real_d=1, fake_d=1)
    truth.gaps = True
    return {"g": g, "d": d, "both": both}


def third_over_both(steps: int, truth: Truth) -> dict[str, Any]:
    """InfoGAN: G first, then D, then an optimizer over both nets, whose loss reads the code back from a fake."""

    class Info(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2))
            self.score, self.code = nn.Linear(16, 1), nn.Linear(16, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return self.score(h), self.code(h)

    g, d = Gen(), Info()
    og, od, oi = adam(g), adam(d), adam(g, d)
    for _ in range(steps):
        og.zero_grad()
        fake = g(noise())
        (d(fake)[0] - 1).square().mean().backward()
        og.step()
        od.zero_grad()
        ((d(data())[0] - 1).square().mean() + d(fake.detach())[0].square().mean()).backward()
        od.step()
        oi.zero_grad()
        z = noise()
        F.mse_loss(d(g(z))[1], z[:, :1]).backward()
        oi.step()
        truth.saw(real_d=1, fake_d=1, fake_g=2)
    return {"g": g, "d": d, "og": og, "od": od, "oi": oi}
