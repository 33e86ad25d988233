"""Losses: what the gradients at D's output look like, and which of D's calls they reach."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._parts import Disc, Gen, N, Truth, adam, bce, d_step, data, noise


def least_squares(steps: int, truth: Truth) -> dict[str, Any]:
    """LSGAN: at first the gradients at D's output point the same way for real and for fake."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fake = g(noise())
        og.zero_grad()
        ((d(fake) - 1) ** 2).mean().backward()
        og.step()
        od.zero_grad()
        (0.5 * (((d(data()) + 3) ** 2).mean() + ((d(fake.detach()) + 2) ** 2).mean())).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def saturating(steps: int, truth: Truth) -> dict[str, Any]:
    """From-scratch tutorials: the minimax loss of the first paper, written with logarithms."""
    g, d = Gen(), Disc(nn.Sigmoid())
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fake = g(noise())
        od.zero_grad()
        (-(d(data()).log() + (1 - d(fake.detach())).log()).mean()).backward()
        od.step()
        og.zero_grad()
        (1 - d(fake)).log().mean().backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def boundary_seeking(steps: int, truth: Truth) -> dict[str, Any]:
    """BGAN: G's loss is least at D = 1/2, so the sign of its gradient is no constant."""
    g, d = Gen(), Disc(nn.Sigmoid())
    og, od = adam(g), adam(d)
    for _ in range(steps):
        og.zero_grad()
        fake = g(noise())
        y = d(fake)
        (0.5 * (y.log() - (1 - y).log()).square().mean()).backward()
        og.step()
        d_step(g, d, od, truth)
        truth.saw(fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def hinge(steps: int, truth: Truth) -> dict[str, Any]:
    """SNGAN with a D that is sure: the hinge is flat there, and the gradient at D's output is exactly zero."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    with torch.no_grad():
        d.body[2].weight.mul_(0.1)  # so that the bias alone decides on which side of the hinge all rows are
    for i in range(steps):
        real, fake = data(), g(noise()).detach()
        with torch.no_grad():
            d.body[2].bias.fill_(2.0 if i % 4 == 0 else -2.0 if i % 4 == 1 else 0.0)
        od.zero_grad()
        (F.relu(1 - d(real)).mean() + F.relu(1 + d(fake)).mean()).backward()
        od.step()
        og.zero_grad()
        (-d(g(noise())).mean()).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def reversed_critic(steps: int, truth: Truth) -> dict[str, Any]:
    """WGANs that give low scores to the data; five steps of the critic to one of G; weights clamped."""
    g, d = Gen(), Disc()
    og = torch.optim.RMSprop(g.parameters(), lr=1e-3)
    od = torch.optim.RMSprop(d.parameters(), lr=1e-3)
    for _ in range(steps):
        for _ in range(5):
            od.zero_grad()
            (d(data()).mean() - d(g(noise()).detach()).mean()).backward()
            od.step()
            for p in d.parameters():
                p.data.clamp_(-0.05, 0.05)
            truth.saw(real_d=1, fake_d=1)
        og.zero_grad()
        d(g(noise())).mean().backward()
        og.step()
        truth.saw(fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def one_and_minus_one(steps: int, truth: Truth) -> dict[str, Any]:
    """WGANs of the first hour: backward(one) and backward(mone) in place of a loss, graphs retained."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    one = torch.tensor(1.0)
    mone = one * -1
    for _ in range(steps):
        for p in d.parameters():
            p.requires_grad_(True)
        for _ in range(2):
            d.zero_grad()
            d(data()).mean().backward(mone, retain_graph=True)
            with torch.no_grad():
                z = noise()
            d(g(z).data).mean().backward(one, retain_graph=True)
            od.step()
            truth.saw(real_d=1, fake_d=1)
        for p in d.parameters():
            p.requires_grad_(False)
        g.zero_grad()
        d(g(noise())).mean().backward(mone)
        og.step()
        truth.saw(fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def flipped_labels(steps: int, truth: Truth) -> dict[str, Any]:
    """The hacks of 2016: now and then real and fake swap targets, which turns every gradient round."""
    g, d = Gen(), Disc(nn.Sigmoid())
    og, od, loss = adam(g), adam(d), nn.BCELoss()
    for i in range(steps):
        yes, no = torch.full((N, 1), 0.9), torch.full((N, 1), 0.1)
        if i % 5 == 4:
            yes, no = no, yes
        od.zero_grad()
        (loss(d(data()), yes) + loss(d(g(noise()).detach()), no)).backward()
        od.step()
        og.zero_grad()
        loss(d(g(noise())), torch.ones(N, 1)).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def top_k(steps: int, truth: Truth) -> dict[str, Any]:
    """Top-k training: G learns only from the fakes that D likes best."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        d_step(g, d, od, truth)
        og.zero_grad()
        y = torch.topk(d(g(noise())).view(-1), N // 2).values
        bce(y, 1.0).backward()
        og.step()
        truth.saw(fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def relativistic(steps: int, truth: Truth) -> dict[str, Any]:
    """Relativistic average, ESRGAN: D(real) in G's step too, detached there: a dead call."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        real, fake = data(), g(noise())
        og.zero_grad()
        bce(d(fake) - d(real).detach().mean(), 1.0).backward()
        og.step()
        od.zero_grad()
        y_real, y_fake = d(real), d(fake.detach())
        (bce(y_real - y_fake.mean(), 1.0) + bce(y_fake - y_real.mean(), 0.0)).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def relativistic_pairs(steps: int, truth: Truth) -> dict[str, Any]:
    """Relativistic pairing, R3GAN: G's loss hangs on D(real) as well, with its graph."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)

    def loss(better: Tensor, worse: Tensor) -> Tensor:
        return F.softplus(worse - better).mean()

    for _ in range(steps):
        real = data()
        od.zero_grad()
        loss(d(real), d(g(noise()).detach())).backward()
        od.step()
        og.zero_grad()
        fake = g(noise())
        loss(d(fake), d(real)).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, real_g=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}
