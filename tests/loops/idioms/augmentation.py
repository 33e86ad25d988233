"""Something between G and D: augmentation, noise, casts. What D sees is no longer what G made."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._parts import Disc, Gen, N, Truth, X, adam, bce, data, g_step, noise


def augment(x: Tensor) -> Tensor:
    """A random scale and shift for each row, differentiable."""
    return x * (1 + 0.05 * torch.randn(len(x), 1)) + 0.05 * torch.randn(len(x), 1)


def augmented_attached(steps: int, truth: Truth) -> dict[str, Any]:
    """DiffAugment as published: the same augmentation before D everywhere; fakes keep their graph in D's step."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        od.zero_grad()
        (F.relu(1 - d(augment(data()))).mean() + F.relu(1 + d(augment(g(noise())))).mean()).backward()
        od.step()
        og.zero_grad()
        (-d(augment(g(noise()))).mean()).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def augmented_leaf(steps: int, truth: Truth) -> dict[str, Any]:
    """R3GAN: the detached fake becomes a leaf that requires grad, is then augmented, and R2 is taken at it."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        real, fake = data().requires_grad_(), g(noise()).detach().requires_grad_()
        y_real, y_fake = d(augment(real)), d(augment(fake))
        (at_real,) = torch.autograd.grad(y_real.sum(), real, create_graph=True)
        (at_fake,) = torch.autograd.grad(y_fake.sum(), fake, create_graph=True)
        od.zero_grad()
        penalty = at_real.square().sum(1) + at_fake.square().sum(1)
        (F.softplus(y_fake - y_real).mean() + 0.1 * penalty.mean()).backward()
        od.step()
        og.zero_grad()
        fake, real = g(noise()), data()
        F.softplus(d(augment(real)) - d(augment(fake))).mean().backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, real_g=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def augmented_detached(steps: int, truth: Truth) -> dict[str, Any]:
    """Training on few images: fakes are detached first and augmented then, so that no trace of G is left."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fake = g(noise())
        od.zero_grad()
        for part in data().chunk(2):
            F.softplus(-d(augment(part))).mean().div(2).backward()
        F.softplus(d(augment(fake.detach()))).mean().backward()
        od.step()
        og.zero_grad()
        F.softplus(-d(augment(fake))).mean().backward()
        og.step()
        truth.saw(real_d=2, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def augmented_without_graph(steps: int, truth: Truth) -> dict[str, Any]:
    """StyleGAN2-ADA re-implementations: two batches of fakes under no_grad, augmented, go into D before the reals."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        with torch.no_grad():
            fakes = [augment(g(noise())) for _ in range(2)]
        od.zero_grad()
        at_fake = sum(F.softplus(d(fake)).mean() for fake in fakes) / 2
        (at_fake + F.softplus(-d(augment(data()))).mean()).backward()
        od.step()
        og.zero_grad()
        F.softplus(-d(augment(g(noise())))).mean().backward()
        og.step()
        truth.saw(real_d=1, fake_d=2, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def augmented_cat(steps: int, truth: Truth) -> dict[str, Any]:
    """DiffAugment for BigGAN: G under no_grad, then D(augment(cat(fake, real))) in one call."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        with torch.set_grad_enabled(False):
            fake = g(noise())
        y = d(augment(torch.cat([fake, data()], 0)))
        y_fake, y_real = torch.split(y, [N, N])
        od.zero_grad()
        (F.relu(1 - y_real).mean() + F.relu(1 + y_fake).mean()).backward()
        od.step()
        og.zero_grad()
        (-d(augment(g(noise()))).mean()).backward()
        og.step()
        truth.saw(cat_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def augmented_cat_detached(steps: int, truth: Truth) -> dict[str, Any]:
    """FastGAN-like repositories with one D call: cat(augment(real), augment(fake.detach()))."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fake = g(noise())
        y_real, y_fake = d(torch.cat([augment(data()), augment(fake.detach())])).chunk(2)
        od.zero_grad()
        (bce(y_real, 1.0) + bce(y_fake, 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(d(augment(fake)), 1.0).backward()
        og.step()
        truth.saw(cat_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def instance_noise(steps: int, truth: Truth) -> dict[str, Any]:
    """Stabilisation by noise that fades out: both inputs of D are noised in the script itself."""
    g, d = Gen(), Disc(nn.Sigmoid())
    og, od, loss = adam(g), adam(d), nn.BCELoss()
    for i in range(steps):
        sigma = 0.1 * (1 - i / steps)
        fake = g(noise())
        od.zero_grad()
        for _ in range(2):  # more reals than fakes, as D falls behind under noise
            loss(d(data() + sigma * torch.randn(N, X)), torch.ones(N, 1)).div(2).backward()
        loss(d(fake.detach() + sigma * torch.randn(N, X)), torch.zeros(N, 1)).backward()
        od.step()
        og.zero_grad()
        loss(d(fake + sigma * torch.randn(N, X)), torch.ones(N, 1)).backward()
        og.step()
        truth.saw(real_d=2, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def consistency(steps: int, truth: Truth) -> dict[str, Any]:
    """Balanced consistency: D also sees augmented reals and augmented fakes, the latter cut off from G."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        real, fake = data(), g(noise()).detach()
        y_real, y_fake = d(real), d(fake)
        pull = (d(augment(fake)) - y_fake).square().mean()
        for _ in range(2):
            pull = pull + (d(augment(real)) - y_real).square().mean() / 2
        od.zero_grad()
        (F.softplus(-y_real).mean() + F.softplus(y_fake).mean() + 0.1 * pull).backward()
        od.step()
        og.zero_grad()
        F.softplus(-d(g(noise()))).mean().backward()
        og.step()
        truth.saw(real_d=3, fake_d=2, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def extra_views(steps: int, truth: Truth) -> dict[str, Any]:
    """Contrastive and multi-view losses: augmented reals and fakes go into D beside the plain ones, with one loss."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        real, fake = data(), g(noise()).detach()
        od.zero_grad()
        loss = F.softplus(-d(real)).mean() + F.softplus(d(fake)).mean()
        loss = loss + F.softplus(-d(real + 0.01)).mean() + F.softplus(-d(real.roll(1, 0) - 0.01)).mean()
        loss = loss + F.softplus(d(fake * 1.01 + 0.01)).mean()
        loss.backward()
        od.step()
        g_step(g, d, og, truth)
        truth.saw(real_d=3, fake_d=2)
    return {"g": g, "d": d, "og": og, "od": od}


def through_numpy(steps: int, truth: Truth) -> dict[str, Any]:
    """Scripts with an image pipeline of their own: fakes take a round trip through rounded numpy arrays."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fakes = [torch.from_numpy((g(noise()).detach().numpy() * 32).round()) / 32 for _ in range(2)]
        real = (data() * 32).round() / 32
        od.zero_grad()
        (2 * bce(d(real), 1.0) + bce(d(fakes[0]), 0.0) + bce(d(fakes[1]), 0.0)).backward()
        od.step()
        g_step(g, d, og, truth)
        truth.saw(real_d=1, fake_d=2)
    return {"g": g, "d": d, "og": og, "od": od}


def through_half(steps: int, truth: Truth) -> dict[str, Any]:
    """Memory savers: what D sees is cast to half precision and back, fakes after they were detached."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fake = g(noise())
        od.zero_grad()
        for _ in range(2):
            bce(d(data().half().float()), 1.0).div(2).backward()
        bce(d(fake.detach().half().float()), 0.0).backward()
        od.step()
        og.zero_grad()
        bce(d(fake.half().float()), 1.0).backward()
        og.step()
        truth.saw(real_d=2, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def augmenting_wrapper(steps: int, truth: Truth) -> dict[str, Any]:
    """Lightweight GANs: D sits in a module that detaches and augments; the script calls only that one."""

    class Augmented(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor, prob: float = 0.0, detach: bool = False) -> tuple[Tensor, Tensor]:
            x = x.detach() if detach else x
            x = augment(x) if torch.rand(()) < prob else x
            return self.net(x), x

    g, d = Gen(), Augmented(Disc())
    og, od = adam(g), adam(d)
    for _ in range(steps):
        od.zero_grad()
        fake = g(noise())
        y_fake, _ = d(fake.clone().detach(), detach=True, prob=0.5)
        y_real, _ = d(data().requires_grad_(), prob=0.5)
        (F.relu(1 - y_real) + F.relu(1 + y_fake)).mean().backward()
        od.step()
        og.zero_grad()
        y, _ = d(g(noise()), prob=0.5)
        y.mean().neg().backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}
