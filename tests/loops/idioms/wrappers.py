"""Where the nets live: in wrappers, in losses, under other names, called past their own front door."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._parts import Disc, Gen, N, Truth, X, Z, adam, bce, data, noise


def wrapper_holds_both(steps: int, truth: Truth) -> dict[str, Any]:
    """One module that calls both nets, as in G_D wrappers and LightningModules."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.g, self.d = Gen(), Disc()

        def forward(self, z: Tensor, x: Tensor | None = None) -> Any:
            fake = self.g(z)
            return self.d(fake) if x is None else (self.d(x), self.d(fake.detach()))

    both = Both()
    og, od = adam(both.g), adam(both.d)
    for _ in range(steps):
        real, fake = both(noise(), data())
        od.zero_grad()
        (bce(real, 1.0) + bce(fake, 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(both(noise()), 1.0).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"both": both, "g": both.g, "d": both.d, "og": og, "od": od}


def cat_inside_a_wrapper(steps: int, truth: Truth) -> dict[str, Any]:
    """BigGAN: G_D makes fakes without a graph, calls D once on cat(fake, real); the optimizers sit on the nets."""

    class Labelled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.end = nn.Linear(X, 16), nn.Linear(16, 1)
            self.embed = nn.Embedding(2, 16)
            self.optim = adam(self)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            h = F.relu(self.body(x))
            return self.end(h) + (self.embed(y) * h).sum(1, keepdim=True)

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared, self.body = nn.Embedding(2, Z), Gen(2 * Z)
            self.optim = adam(self)

        def forward(self, z: Tensor, y: Tensor) -> Tensor:
            return self.body(torch.cat([z, y], 1))

    class Both(nn.Module):
        def __init__(self, g: Shared, d: Labelled) -> None:
            super().__init__()
            self.g, self.d = g, d

        def forward(self, z: Tensor, gy: Tensor, x: Tensor | None = None, dy: Tensor | None = None) -> Any:
            with torch.set_grad_enabled(x is None):
                fake = self.g(z, self.g.shared(gy))
            if x is None or dy is None:
                return self.d(fake, gy)
            return torch.split(self.d(torch.cat([fake, x]), torch.cat([gy, dy])), [len(fake), len(x)])

    class Distribution(Tensor):
        def sample_(self) -> None:
            self.normal_()

    g, d = Shared(), Labelled()
    both = Both(g, d)
    z = torch.empty(N, Z).as_subclass(Distribution)
    for _ in range(steps):
        for p in d.parameters():
            p.requires_grad_(True)
        g.optim.zero_grad()
        d.optim.zero_grad()
        z.sample_()
        y_fake, y_real = both(z, torch.randint(0, 2, (N,)), data(), torch.randint(0, 2, (N,)))
        (F.relu(1 - y_real).mean() + F.relu(1 + y_fake).mean()).backward()
        d.optim.step()
        for p in d.parameters():
            p.requires_grad_(False)
        g.optim.zero_grad()
        z.sample_()
        (-both(z, torch.randint(0, 2, (N,))).mean()).backward()
        g.optim.step()
        truth.saw(cat_d=1, fake_g=1)
    return {"g": g, "d": d, "og": g.optim, "od": d.optim}


def lightning_like(steps: int, truth: Truth) -> dict[str, Any]:
    """Lightning: a module that is G when called; `self(z).detach()` dies at once; requires_grad toggled; G first."""

    class Trained(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = Gen(), Disc()
            self.fixed = nn.Parameter(noise(), requires_grad=False)

        def forward(self, z: Tensor) -> Tensor:
            return self.one(z)

    m = Trained()
    og, od = adam(m.one), adam(m.two)
    for _ in range(steps):
        real = data()
        m.two.requires_grad_(False)
        og.zero_grad()
        bce(m.two(m(noise().type_as(real))), 1.0).backward()
        og.step()
        m.two.requires_grad_(True)
        m.one.requires_grad_(False)
        od.zero_grad()
        loss_real = bce(m.two(real), 1.0)
        loss_fake = bce(m.two(m(noise()).detach()), 0.0)
        ((loss_real + loss_fake) / 2).backward()
        od.step()
        m.one.requires_grad_(True)
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"module": m, "g": m.one, "d": m.two, "og": og, "od": od}


def forward_called_directly(steps: int, truth: Truth) -> dict[str, Any]:
    """MUNIT: a method that calls self.forward, past every module hook; two inputs and a tuple out."""

    class Direct(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(X + 1, 8)
            self.end = nn.Linear(8, 1)

        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(self.body(torch.cat([x, y], 1)))
            return self.end(h), h

        def compute_loss(self, x: Tensor, y: Tensor, target: float) -> Tensor:
            return ((self.forward(x, y)[0] - target) ** 2).mean()

    g, d = Gen(), Direct()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        y = torch.rand(N, 1)
        fake = g(noise())
        og.zero_grad()
        d.compute_loss(fake, y, 1.0).backward()
        og.step()
        od.zero_grad()
        (d.compute_loss(data(), y, 1.0) + d.compute_loss(fake.detach(), y, 0.0)).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def parts_of_g(steps: int, truth: Truth) -> dict[str, Any]:
    """StyleGAN: G itself is never called: G.mapping and G.synthesis are; both nets toggled by requires_grad."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        d.requires_grad_(False)
        og.zero_grad()
        F.softplus(-d(g.synthesis(g.mapping(noise())))).mean().backward()
        og.step()
        d.requires_grad_(True)
        g.requires_grad_(False)
        od.zero_grad()
        F.softplus(d(g.synthesis(g.mapping(noise())))).mean().backward()
        F.softplus(-d(data())).mean().backward()
        od.step()
        g.requires_grad_(True)
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def parts_of_d(steps: int, truth: Truth) -> dict[str, Any]:
    """Shared trunks: the script calls D.trunk and then D.head on its result; the two together are one call of D."""

    class Trunk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Sequential(nn.Linear(X, 16), nn.LeakyReLU(0.2))
            self.head = nn.Sequential(nn.Linear(16, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))

    g, d = Gen(), Trunk()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        od.zero_grad()
        (bce(d.head(d.trunk(data())), 1.0) + bce(d.head(d.trunk(g(noise()).detach())), 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(d.head(d.trunk(g(noise()))), 1.0).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def loss_module(steps: int, truth: Truth) -> dict[str, Any]:
    """VQGAN: D lives in the loss beside a frozen VGG; its loss has weight zero at first; G's weight is adaptive.

    The adaptive weight asks autograd.grad, first order, for both losses' gradients at G's last layer. While the
    factor is zero, D's calls get exactly zero gradients, and G's call gets another one from autograd.grad.
    """

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.perceptual = nn.Sequential(nn.Linear(X, 16), nn.ReLU()).requires_grad_(False)
            self.discriminator = Disc()

        def forward(self, x: Tensor, rebuilt: Tensor, turn: int, i: int, last: Tensor) -> Tensor:
            factor = 0.0 if i < 4 else 1.0
            if turn == 1:
                y_real, y_fake = self.discriminator(x.detach()), self.discriminator(rebuilt.detach())
                return factor * 0.5 * (F.relu(1 - y_real) + F.relu(1 + y_fake)).mean()
            close = (x - rebuilt).abs().mean() + F.mse_loss(self.perceptual(rebuilt), self.perceptual(x))
            fooled = -self.discriminator(rebuilt).mean()
            (a,) = torch.autograd.grad(close, last, retain_graph=True)
            (b,) = torch.autograd.grad(fooled, last, retain_graph=True)
            weight = (a.norm() / (b.norm() + 1e-4)).clamp(0, 10).detach()
            return close + weight * factor * fooled

    g, loss = Gen(X, X), Loss()
    og, od = adam(g), adam(loss.discriminator)
    for i in range(steps):
        x = data()
        og.zero_grad()
        loss(x, g(x), 0, i, g.synthesis[2].weight).backward()
        og.step()
        od.zero_grad()
        loss(x, g(x), 1, i, g.synthesis[2].weight).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": loss.discriminator, "loss": loss, "og": og, "od": od}
