"""One G, one D, one optimizer each: the order of things and the losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ._parts import Disc, Gen, N, Truth, Z, adam, bce, d_step, data, g_step, noise


def dcgan(steps: int, truth: Truth) -> dict[str, Any]:
    """The DCGAN tutorials: two backward passes in the D step, sigmoid and BCELoss, one G call used twice."""
    g, d = Gen(), Disc(nn.Sigmoid())
    og, od, loss = adam(g), adam(d), nn.BCELoss()
    for _ in range(steps):
        d.zero_grad()
        loss(d(data()).view(-1), torch.ones(N)).backward()
        fake = g(noise())
        loss(d(fake.detach()).view(-1), torch.zeros(N)).backward()
        od.step()
        g.zero_grad()
        loss(d(fake).view(-1), torch.ones(N)).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def g_first(steps: int, truth: Truth) -> dict[str, Any]:
    """Collections of one-file GANs: G steps first; the same fake, stale, goes into D's step."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        og.zero_grad()
        fake = g(noise())
        bce(d(fake), 1.0).backward()
        og.step()
        od.zero_grad()
        ((bce(d(data()), 1.0) + bce(d(fake.detach()), 0.0)) / 2).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def last_fake_again(steps: int, truth: Truth) -> dict[str, Any]:
    """WGAN tutorials: the fake of the last critic step, attached there, goes into G's step; graph retained."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fake = torch.empty(0)
        for _ in range(2):
            fake = g(noise())
            y_real, y_fake = d(data()).reshape(-1), d(fake).reshape(-1)
            d.zero_grad()
            (-(y_real.mean() - y_fake.mean())).backward(retain_graph=True)
            od.step()
            truth.saw(real_d=1, fake_d=1)
        g.zero_grad()
        (-d(fake).reshape(-1).mean()).backward()
        og.step()
        truth.saw(fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def one_static_buffer(steps: int, truth: Truth) -> dict[str, Any]:
    """Ports from Lua Torch: one input tensor, into which first reals and then fakes are copied."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    seen, z = torch.empty(N, 2), torch.empty(N, Z)
    for _ in range(steps):
        od.zero_grad()
        seen.copy_(data())
        bce(d(seen), 1.0).backward()
        z.normal_()
        fake = g(z)
        seen.copy_(fake.detach())
        bce(d(seen), 0.0).backward()
        od.step()
        og.zero_grad()
        bce(d(fake), 1.0).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def static_real_buffer(steps: int, truth: Truth) -> dict[str, Any]:
    """Ports from Theano: buffers for data and noise, made once and filled in place each round."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    real, z = torch.empty(N, 2), torch.empty(N, Z)
    for _ in range(steps):
        od.zero_grad()
        real.copy_(data())
        z.normal_()
        y_real = d(real)
        y_fake = d(g(z).detach())
        (bce(y_real, 1.0) + bce(y_fake, 0.0)).backward()
        od.step()
        og.zero_grad()
        z.normal_()
        bce(d(g(z)), 1.0).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def twice_g(steps: int, truth: Truth) -> dict[str, Any]:
    """Early DCGAN ports: G steps twice in a round, so that D does not win at once."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        d_step(g, d, od, truth)
        g_step(g, d, og, truth)
        g_step(g, d, og, truth)
    truth.iterations = 2 * steps
    truth.gaps = True
    return {"g": g, "d": d, "og": og, "od": od}


def halves_apart(steps: int, truth: Truth) -> dict[str, Any]:
    """Ports from Keras: D is trained on a real batch, with a step, and then on a fake batch, with another step."""
    g, d = Gen(), Disc(nn.Sigmoid())
    og, od, loss = adam(g), adam(d), nn.BCELoss()
    for _ in range(steps):
        od.zero_grad()
        loss(d(data()), torch.ones(N, 1)).backward()
        od.step()
        od.zero_grad()
        loss(d(g(noise()).detach()), torch.zeros(N, 1)).backward()
        od.step()
        og.zero_grad()
        loss(d(g(noise())), torch.ones(N, 1)).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def ragged_batches(steps: int, truth: Truth) -> dict[str, Any]:
    """Loaders that keep the last batch: it is smaller, and fakes are made in the full size or in the same."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for i in range(steps):
        rows = 5 if i % 4 == 3 else N
        fake = g(noise(rows if i % 8 == 3 else N))
        od.zero_grad()
        (bce(d(data(rows)), 1.0) + bce(d(fake.detach().clone()), 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(d(fake), 1.0).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def two_roots(steps: int, truth: Truth) -> dict[str, Any]:
    """`torch.autograd.backward` on a list of losses, a fake first and a real second."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fake = g(noise())
        od.zero_grad()
        torch.autograd.backward([bce(d(fake.detach()), 0.0), bce(d(data()), 1.0)])
        od.step()
        og.zero_grad()
        torch.autograd.backward(bce(d(fake), 1.0))
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}
