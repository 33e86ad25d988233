"""Calls that are no training: pictures, plots, averages of weights; and samples that D helped to make."""

from __future__ import annotations

import copy
import io
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._parts import Disc, Gen, N, Truth, X, Z, adam, bce, d_step, data, g_step, noise


def bare_sequentials(steps: int, truth: Truth) -> dict[str, Any]:
    """Notebooks: both nets are bare Sequentials, so that names say nothing; in-place activations; EMA; pictures."""
    g = nn.Sequential(nn.Linear(Z, 16), nn.ReLU(True), nn.Linear(16, X))
    d = nn.Sequential(nn.LeakyReLU(0.2, inplace=False), nn.Linear(X, 16), nn.ReLU(True), nn.Linear(16, 1))
    ema = copy.deepcopy(g)
    og, od = adam(g), adam(d)
    for i in range(steps):
        d_step(g, d, od, truth)
        g_step(g, d, og, truth)
        with torch.no_grad():
            for average, p in zip(ema.parameters(), g.parameters(), strict=True):
                average.lerp_(p, 0.1)
            if i % 3 == 0:
                d(ema(noise()))
    return {"g": g, "d": d, "ema": ema, "og": og, "od": od}


def in_place_first_layer(steps: int, truth: Truth) -> dict[str, Any]:
    """Ports from Theano and Lua: D scales and clamps its input in place, so that afterwards it is another tensor."""

    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(X, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x.mul_(0.5).clamp_(-2, 2))

    g, d = Gen(), Overwriting()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        d_step(g, d, od, truth)
        g_step(g, d, og, truth)
    return {"g": g, "d": d, "og": og, "od": od}


def contour_plot(steps: int, truth: Truth) -> dict[str, Any]:
    """WGAN-GP on toy data: G takes the reals too; D is called on a grid, with grad on, for a contour plot."""

    class Toy(Gen):
        def forward(self, z: Tensor, real: Tensor) -> Tensor:
            return super().forward(z) + 0.1 * real.mean(0)

    g, d = Toy(), Disc()
    og, od = adam(g), adam(d)
    axis = torch.linspace(-3, 3, 8)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    plots = []
    for i in range(steps):
        real = data()
        od.zero_grad()
        d(real).mean().neg().backward()
        fake = g(noise(), real).data
        d(fake).mean().backward()
        od.step()
        og.zero_grad()
        real = data()
        d(g(noise(), real)).mean().neg().backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
        if i % 4 == 0:
            plots.append(d(grid).detach().numpy().copy())
            g(noise(), real)
    return {"g": g, "d": d, "og": og, "od": od, "plots": [torch.from_numpy(plot) for plot in plots]}


def averages(steps: int, truth: Truth) -> dict[str, Any]:
    """StyleGAN2, FastGAN: an EMA copy feeds D for pictures with grad on, and its weights are swapped into G and out."""
    g, d = Gen(), Disc()
    ema = copy.deepcopy(g).eval().requires_grad_(False)
    og, od = adam(g), adam(d)
    for i in range(steps):
        d_step(g, d, od, truth)
        g_step(g, d, og, truth)
        with torch.no_grad():
            for average, p in zip(ema.parameters(), g.parameters(), strict=True):
                average.copy_(p.lerp(average, 0.9))
        if i % 4 == 2:
            d(ema(noise()))
            kept = copy.deepcopy([p.data for p in g.parameters()])
            for p, average in zip(g.parameters(), ema.parameters(), strict=True):
                p.data = average.data.clone()
            with torch.no_grad():
                d(g(noise()))
            for p, old in zip(g.parameters(), kept, strict=True):
                p.data.copy_(old)
    return {"g": g, "d": d, "ema": ema, "og": og, "od": od}


def saved_and_loaded(steps: int, truth: Truth) -> dict[str, Any]:
    """torch.save of whole modules: mid-run they are loaded back in place of the old ones, with new optimizers."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for i in range(steps):
        if i == steps // 2:
            file = io.BytesIO()
            torch.save({"nets": (g, d), "optimizers": (og.state_dict(), od.state_dict())}, file)
            file.seek(0)
            saved = torch.load(file, weights_only=False)
            g, d = saved["nets"]
            og, od = adam(g), adam(d)
            og.load_state_dict(saved["optimizers"][0])
            od.load_state_dict(saved["optimizers"][1])
        d_step(g, d, od, truth)
        g_step(g, d, og, truth)
    return {"g": g, "d": d, "og": og, "od": od}


def copies_of_both(steps: int, truth: Truth) -> dict[str, Any]:
    """Rollback: both nets are deep-copied now and then, the copies are called, and their weights loaded back once."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    old = copy.deepcopy((g, d))
    for i in range(steps):
        d_step(g, d, od, truth)
        g_step(g, d, og, truth)
        if i % 5 == 4:
            old[1](old[0](noise()))
            old[1](data())
            old = copy.deepcopy((g, d))
        if i == 12:
            g.load_state_dict(old[0].state_dict())
            d.load_state_dict(old[1].state_dict())
    return {"g": g, "d": d, "og": og, "od": od}


def latent_steps(steps: int, truth: Truth) -> dict[str, Any]:
    """Latent optimisation: z moves along D's gradient before G is called on it. First order: no step uses that call."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)

    def sample() -> Tensor:
        z = noise().requires_grad_()
        (up,) = torch.autograd.grad(d(g(z)).sum(), z)
        return (z + 0.1 * up).detach()

    for _ in range(steps):
        z = sample()
        od.zero_grad()
        (F.relu(1 - d(data())).mean() + F.relu(1 + d(g(z).detach())).mean()).backward()
        od.step()
        og.zero_grad()
        (-d(g(sample())).mean()).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def rejection(steps: int, truth: Truth) -> dict[str, Any]:
    """Top fakes by rejection: D scores many fakes under no_grad, and trains on the rows that were taken."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        with torch.no_grad():
            many = g(noise(2 * N))
            taken = many[d(many).view(-1).topk(N).indices]
        od.zero_grad()
        (bce(d(data()), 1.0) + bce(d(taken), 0.0)).backward()
        od.step()
        g_step(g, d, og, truth)
        truth.saw(real_d=1, fake_d=1)
    return {"g": g, "d": d, "og": og, "od": od}


def latent_steps_in_the_graph(steps: int, truth: Truth) -> dict[str, Any]:
    """LOGAN: in G's step the latent's move stays in the graph, so that step uses the first D call by second order."""
    g, d = Gen(), Disc(nn.Softplus())
    og, od = adam(g), adam(d)
    for _ in range(steps):
        od.zero_grad()
        (F.relu(1 - d(data())).mean() + d(g(noise()).detach()).mean()).backward()
        od.step()
        og.zero_grad()
        z = noise().requires_grad_()
        (up,) = torch.autograd.grad(d(g(z)).sum(), z, create_graph=True)
        (-d(g(z + 0.1 * up)).mean()).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1, penalty_g=1)
    return {"g": g, "d": d, "og": og, "od": od}
