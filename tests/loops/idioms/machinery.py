"""Machinery around the nets: parallel wrappers, proxies, checkpointing, gradients asked for by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ._parts import Disc, Gen, Truth, X, adam, bce, d_step, data, g_step, noise


def data_parallel(steps: int, truth: Truth) -> dict[str, Any]:
    """DataParallel around both nets, as tutorials do even on one device; optimizers made from the wrappers."""
    g, d = nn.DataParallel(Gen()), nn.DataParallel(Disc())
    og, od = adam(g), adam(d)
    for _ in range(steps):
        d_step(g, d, od, truth)
        g_step(g, d, og, truth)
    return {"g": g.module, "d": d.module, "og": og, "od": od}


def optimizer_proxies(steps: int, truth: Truth) -> dict[str, Any]:
    """Fabric, Accelerate: modules and optimizers come back wrapped from a set-up function."""

    class Proxy:
        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            self._optimizer = optimizer

        def __getattr__(self, name: str) -> Any:
            return getattr(self._optimizer, name)

        def step(self) -> None:
            self._optimizer.step()

    g, d = Gen(), Disc()
    og: Any = Proxy(adam(g))
    od: Any = Proxy(adam(d))
    for _ in range(steps):
        d_step(g, d, od, truth)
        g_step(g, d, og, truth)
    return {"g": g, "d": d, "og": og._optimizer, "od": od._optimizer}


def checkpointed(steps: int, truth: Truth) -> dict[str, Any]:
    """Memory savers: D runs under activation checkpointing, so that its forward runs again inside backward."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fake = g(noise())
        od.zero_grad()
        y_real = checkpoint(d, data(), use_reentrant=False)
        y_fake = checkpoint(d, fake.detach(), use_reentrant=False)
        (bce(y_real, 1.0) + bce(y_fake, 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(checkpoint(d, fake, use_reentrant=False), 1.0).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def checkpointed_reentrant(steps: int, truth: Truth) -> dict[str, Any]:
    """The older checkpointing: D's first forward has no graph, and the second comes with a backward of its own."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fake = g(noise())
        od.zero_grad()
        y_real = checkpoint(d, data().requires_grad_(), use_reentrant=True)
        y_fake = checkpoint(d, fake.detach().requires_grad_(), use_reentrant=True)
        (bce(y_real, 1.0) + bce(y_fake, 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(checkpoint(d, fake, use_reentrant=True), 1.0).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def gradients_by_hand(steps: int, truth: Truth) -> dict[str, Any]:
    """Game optimisation: gradients by the weights come from autograd.grad and are put into `.grad`; no backward."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)

    def give(loss: Tensor, net: nn.Module) -> None:
        for p, gradient in zip(net.parameters(), torch.autograd.grad(loss, list(net.parameters())), strict=True):
            p.grad = gradient

    for _ in range(steps):
        give(bce(d(data()), 1.0) + bce(d(g(noise()).detach()), 0.0), d)
        od.step()
        give(bce(d(g(noise())), 1.0), g)
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def shared_with_a_denoiser(steps: int, truth: Truth) -> dict[str, Any]:
    """DMD2: D is a head on the net that also learns to denoise fakes; one optimizer for both; its methods are called.

    The denoising of a fake is a call of D's net that feeds D's optimizer, and is counted as such.
    """

    class Guidance(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unet = nn.Sequential(nn.Linear(X, 16), nn.SiLU())
            self.out, self.head = nn.Linear(16, X), nn.Sequential(nn.Linear(16, 8), nn.SiLU(), nn.Linear(8, 1))

        def forward(self, x: Tensor, turn: str) -> Tensor:
            if turn == "denoise":
                return F.mse_loss(self.out(self.unet(x)), x)
            return self.head(self.unet(x))

    g, d = Gen(), Guidance()
    og = torch.optim.AdamW(g.parameters(), lr=1e-3)
    od = torch.optim.AdamW(d.parameters(), lr=1e-3)
    for i in range(2 * steps):
        with torch.set_grad_enabled(i % 2 == 1):
            fake = g(noise())
        if i % 2 == 1:
            d.requires_grad_(False)
            F.softplus(-d(fake, "score")).mean().backward()
            torch.nn.utils.clip_grad_norm_(g.parameters(), 10.0)
            og.step()
            og.zero_grad()
            od.zero_grad()
            d.requires_grad_(True)
            truth.saw(fake_g=1)
        fake = fake.detach()
        loss = F.softplus(d(fake, "score")).mean() + F.softplus(-d(data(), "score")).mean()
        (d(fake, "denoise") + 0.1 * loss).backward()
        torch.nn.utils.clip_grad_norm_(d.parameters(), 10.0)
        od.step()
        od.zero_grad()
        og.zero_grad()
        truth.saw(real_d=1, fake_d=2)
    return {"g": g, "d": d, "og": og, "od": od}
