"""Training loops as people write them, restated small. Each says the truth of every call of D itself.

An idiom is a function `(steps, truth) -> dict[str, Module | Optimizer]`: it trains, counts each training call
of D in `truth` as (kind, phase), and returns what it trained, for bit-identity.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Truth = Counter[tuple[str, str]]
Idiom = Callable[[int, Truth], dict[str, Any]]
N, Z, X = 16, 4, 2


class Gen(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(Z, width), nn.ReLU())
        self.synthesis = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, X))

    def forward(self, z: Tensor) -> Tensor:
        return self.synthesis(self.mapping(z))


class Disc(nn.Module):
    def __init__(self, end: nn.Module | None = None, inputs: int = X) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1), end or nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def data() -> Tensor:
    return torch.randn(N, X) * 0.1 + torch.randint(0, 2, (N, 1)) * 2


def adam(net: nn.Module, lr: float = 1e-3) -> torch.optim.Adam:
    return torch.optim.Adam(net.parameters(), lr=lr, betas=(0.5, 0.999))


def bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def dcgan(steps: int, truth: Truth) -> dict[str, Any]:
    """Two backward passes in the D step, sigmoid and BCELoss, one G call used twice."""
    g, d = Gen(), Disc(nn.Sigmoid())
    og, od, loss = adam(g), adam(d), nn.BCELoss()
    for _ in range(steps):
        d.zero_grad()
        loss(d(data()).view(-1), torch.ones(N)).backward()
        fake = g(torch.randn(N, Z))
        loss(d(fake.detach()).view(-1), torch.zeros(N)).backward()
        od.step()
        g.zero_grad()
        loss(d(fake).view(-1), torch.ones(N)).backward()
        og.step()
        truth.update({("real", "d"): 1, ("fake", "d"): 1, ("fake", "g"): 1})
    return {"g": g, "d": d, "og": og, "od": od}


def g_first(steps: int, truth: Truth) -> dict[str, Any]:
    """G steps first; the same fake, stale, goes into D's step."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        og.zero_grad()
        fake = g(torch.randn(N, Z))
        bce(d(fake), 1.0).backward()
        og.step()
        od.zero_grad()
        ((bce(d(data()), 1.0) + bce(d(fake.detach()), 0.0)) / 2).backward()
        od.step()
        truth.update({("real", "d"): 1, ("fake", "d"): 1, ("fake", "g"): 1})
    return {"g": g, "d": d, "og": og, "od": od}


def wgan_gp(steps: int, truth: Truth) -> dict[str, Any]:
    """n_critic = 3, fakes attached in D's step, a penalty call on interpolates."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for i in range(steps * 3):
        od.zero_grad()
        real, fake = data(), g(torch.randn(N, Z))
        share = torch.rand(N, 1)
        mixed = (share * real.data + (1 - share) * fake.data).requires_grad_(True)
        (slope,) = torch.autograd.grad(d(mixed).sum(), mixed, create_graph=True)
        loss = d(fake).mean() - d(real).mean() + 10 * ((slope.norm(dim=1) - 1) ** 2).mean()
        loss.backward()
        od.step()
        truth.update({("real", "d"): 1, ("fake", "d"): 1, ("penalty", "d"): 1})
        if i % 3 == 2:
            og.zero_grad()
            (-d(g(torch.randn(N, Z))).mean()).backward()
            og.step()
            truth["fake", "g"] += 1
    return {"g": g, "d": d, "og": og, "od": od}


def interpolate_attached(steps: int, truth: Truth) -> dict[str, Any]:
    """The penalty's interpolates hang on G's graph, as in CTGAN; fake comes before real."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fake, real = g(torch.randn(N, Z)), data()
        y_fake, y_real = d(fake), d(real)
        mixed = real + torch.rand(N, 1) * (fake - real)
        (slope,) = torch.autograd.grad(d(mixed).sum(), mixed, create_graph=True)
        od.zero_grad()
        ((slope.norm(dim=1) - 1) ** 2).mean().backward(retain_graph=True)
        (y_fake.mean() - y_real.mean()).backward()
        od.step()
        og.zero_grad()
        (-d(g(torch.randn(N, Z))).mean()).backward()
        og.step()
        truth.update({("real", "d"): 1, ("fake", "d"): 1, ("penalty", "d"): 1, ("fake", "g"): 1})
    return {"g": g, "d": d, "og": og, "od": od}


def r1_on_the_call(steps: int, truth: Truth) -> dict[str, Any]:
    """The penalty is taken on the real call itself: two cotangents on one output."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        real = data().requires_grad_()
        y = d(real)
        (slope,) = torch.autograd.grad(y.sum(), real, create_graph=True)
        with torch.no_grad():
            fake = g(torch.randn(N, Z))
        fake.requires_grad_()  # a grad-requiring leaf, as in GAN_stability
        od.zero_grad()
        (F.softplus(-y).mean() + F.softplus(d(fake)).mean() + slope.square().sum(1).mean()).backward()
        od.step()
        og.zero_grad()
        F.softplus(-d(g(torch.randn(N, Z)))).mean().backward()
        og.step()
        truth.update({("real", "d"): 1, ("fake", "d"): 1, ("fake", "g"): 1})
    return {"g": g, "d": d, "og": og, "od": od}


def cat_in_one_call(steps: int, truth: Truth) -> dict[str, Any]:
    """D sees cat(fake, real), the fakes made without a graph, as in BigGAN."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        with torch.no_grad():
            fake = g(torch.randn(N, Z))
        y_fake, y_real = d(torch.cat([fake, data()])).split(N)
        od.zero_grad()
        (F.relu(1 - y_real).mean() + F.relu(1 + y_fake).mean()).backward()
        od.step()
        og.zero_grad()
        (-d(g(torch.randn(N, Z))).mean()).backward()
        og.step()
        truth.update({("cat", "d"): 1, ("fake", "g"): 1})
    return {"g": g, "d": d, "og": og, "od": od}


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
        real, fake = both(torch.randn(N, Z), data())
        od.zero_grad()
        (bce(real, 1.0) + bce(fake, 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(both(torch.randn(N, Z)), 1.0).backward()
        og.step()
        truth.update({("real", "d"): 1, ("fake", "d"): 1, ("fake", "g"): 1})
    return {"both": both, "og": og, "od": od}


def forward_called_directly(steps: int, truth: Truth) -> dict[str, Any]:
    """A method that calls self.forward, past every module hook; two inputs and a tuple out."""

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
        fake = g(torch.randn(N, Z))
        og.zero_grad()
        d.compute_loss(fake, y, 1.0).backward()
        og.step()
        od.zero_grad()
        (d.compute_loss(data(), y, 1.0) + d.compute_loss(fake.detach(), y, 0.0)).backward()
        od.step()
        truth.update({("real", "d"): 1, ("fake", "d"): 1, ("fake", "g"): 1})
    return {"g": g, "d": d, "og": og, "od": od}


def parts_of_g(steps: int, truth: Truth) -> dict[str, Any]:
    """G itself is never called: G.mapping and G.synthesis are; D is toggled by requires_grad."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        d.requires_grad_(False)
        og.zero_grad()
        F.softplus(-d(g.synthesis(g.mapping(torch.randn(N, Z))))).mean().backward()
        og.step()
        d.requires_grad_(True)
        g.requires_grad_(False)
        od.zero_grad()
        F.softplus(d(g.synthesis(g.mapping(torch.randn(N, Z))))).mean().backward()
        F.softplus(-d(data())).mean().backward()
        od.step()
        g.requires_grad_(True)
        truth.update({("real", "d"): 1, ("fake", "d"): 1, ("fake", "g"): 1})
    return {"g": g, "d": d, "og": og, "od": od}


def bare_sequentials(steps: int, truth: Truth) -> dict[str, Any]:
    """Both nets are bare Sequentials, so that class names say nothing; in-place activations; EMA; pictures."""
    g = nn.Sequential(nn.Linear(Z, 16), nn.ReLU(True), nn.Linear(16, X))
    d = nn.Sequential(nn.LeakyReLU(0.2, inplace=False), nn.Linear(X, 16), nn.ReLU(True), nn.Linear(16, 1))
    ema = copy.deepcopy(g)
    og, od = adam(g), adam(d)
    for i in range(steps):
        od.zero_grad()
        (bce(d(data()), 1.0) + bce(d(g(torch.randn(N, Z)).detach()), 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(d(g(torch.randn(N, Z))), 1.0).backward()
        og.step()
        with torch.no_grad():
            for average, p in zip(ema.parameters(), g.parameters(), strict=True):
                average.lerp_(p, 0.1)
            if i % 3 == 0:
                d(ema(torch.randn(N, Z)))
        truth.update({("real", "d"): 1, ("fake", "d"): 1, ("fake", "g"): 1})
    return {"g": g, "d": d, "ema": ema, "og": og, "od": od}


def relativistic(steps: int, truth: Truth) -> dict[str, Any]:
    """D(real) in G's step too, detached there: a dead call."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        real, fake = data(), g(torch.randn(N, Z))
        og.zero_grad()
        bce(d(fake) - d(real).detach().mean(), 1.0).backward()
        og.step()
        od.zero_grad()
        y_real, y_fake = d(real), d(fake.detach())
        (bce(y_real - y_fake.mean(), 1.0) + bce(y_fake - y_real.mean(), 0.0)).backward()
        od.step()
        truth.update({("real", "d"): 1, ("fake", "d"): 1, ("fake", "g"): 1})
    return {"g": g, "d": d, "og": og, "od": od}


def two_discriminators(steps: int, truth: Truth) -> dict[str, Any]:
    """Two Ds in one optimizer, gradient accumulation, weights clipped after the step."""
    g, d1, d2 = Gen(), Disc(), Disc()
    og = torch.optim.RMSprop(g.parameters(), lr=1e-3)
    od = torch.optim.RMSprop([*d1.parameters(), *d2.parameters()], lr=1e-3)
    for _ in range(steps):
        od.zero_grad()
        for _ in range(2):
            fake = g(torch.randn(N, Z)).detach()
            real = data()
            for d in (d1, d2):
                (d(fake).mean() - d(real).mean()).backward()
                truth.update({("real", "d"): 1, ("fake", "d"): 1})
        od.step()
        with torch.no_grad():
            for p in (*d1.parameters(), *d2.parameters()):
                p.clamp_(-0.1, 0.1)
        og.zero_grad()
        fake = g(torch.randn(N, Z))
        (-d1(fake).mean() - d2(fake).mean()).backward()
        og.step()
        truth["fake", "g"] += 2
    return {"g": g, "d1": d1, "d2": d2, "og": og, "od": od}


def custom_optimizer(steps: int, truth: Truth) -> dict[str, Any]:
    """An optimizer subclass that calls super().step(), made anew in the middle of the run; dropout in D."""

    class Halved(torch.optim.Adam):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    g = Gen()
    d = nn.Sequential(nn.Linear(X, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
    og, od = Halved(g.parameters(), lr=1e-3), Halved(d.parameters(), lr=1e-3)
    for i in range(steps):
        if i == steps // 2:
            og, od = Halved(g.parameters(), lr=5e-4), Halved(d.parameters(), lr=5e-4)
        od.zero_grad()
        (bce(d(data()), 1.0) + bce(d(g(torch.randn(N, Z)).detach()), 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(d(g(torch.randn(N, Z))), 1.0).backward()
        og.step()
        truth.update({("real", "d"): 1, ("fake", "d"): 1, ("fake", "g"): 1})
    return {"g": g, "d": d, "og": og, "od": od}


def least_squares(steps: int, truth: Truth) -> dict[str, Any]:
    """LSGAN: at first the gradients at D's output point the same way for real and for fake."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fake = g(torch.randn(N, Z))
        og.zero_grad()
        ((d(fake) - 1) ** 2).mean().backward()
        og.step()
        od.zero_grad()
        (0.5 * (((d(data()) + 3) ** 2).mean() + ((d(fake.detach()) + 2) ** 2).mean())).backward()
        od.step()
        truth.update({("real", "d"): 1, ("fake", "d"): 1, ("fake", "g"): 1})
    return {"g": g, "d": d, "og": og, "od": od}


def consistency(steps: int, truth: Truth) -> dict[str, Any]:
    """D also sees augmented reals and augmented fakes, the latter cut off from G: these two stay unknown or right."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        real, fake = data(), g(torch.randn(N, Z)).detach()
        od.zero_grad()
        loss = F.softplus(-d(real)).mean() + F.softplus(d(fake)).mean()
        loss = loss + F.softplus(-d(real + 0.01)).mean() + F.softplus(d(fake * 1.01 + 0.01)).mean()
        loss.backward()
        od.step()
        og.zero_grad()
        F.softplus(-d(g(torch.randn(N, Z)))).mean().backward()
        og.step()
        truth.update({("real", "d"): 2, ("fake", "d"): 1, ("unknown", "d"): 1, ("fake", "g"): 1})
    return {"g": g, "d": d, "og": og, "od": od}


IDIOMS: list[Idiom] = [
    dcgan,
    g_first,
    wgan_gp,
    interpolate_attached,
    r1_on_the_call,
    cat_in_one_call,
    wrapper_holds_both,
    forward_called_directly,
    parts_of_g,
    bare_sequentials,
    relativistic,
    two_discriminators,
    custom_optimizer,
    least_squares,
    consistency,
]
