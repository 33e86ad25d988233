"""Who steps what and when: joint optimizers, subclasses, closures, accumulation, frozen and clamped weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._parts import Disc, Gen, N, Truth, adam, bce, d_step, data, g_step, noise


def custom_optimizer(steps: int, truth: Truth) -> dict[str, Any]:
    """BigGAN's Adam16 and its like: a subclass that calls super().step(), made anew mid-run; dropout in D."""

    class Halved(torch.optim.Adam):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    g = Gen()
    d = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
    og, od = Halved(g.parameters(), lr=1e-3), Halved(d.parameters(), lr=1e-3)
    for i in range(steps):
        if i == steps // 2:
            og, od = Halved(g.parameters(), lr=5e-4), Halved(d.parameters(), lr=5e-4)
        d_step(g, d, od, truth)
        g_step(g, d, og, truth)
    return {"g": g, "d": d, "og": og, "od": od}


def handmade_optimizer(steps: int, truth: Truth) -> dict[str, Any]:
    """Optimistic descent: an Optimizer that never calls super().step() and keeps its own state."""

    class Optimistic(torch.optim.Optimizer):
        def __init__(self, params: Any, lr: float) -> None:
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        last = self.state[p].get("last", p.grad)
                        p.add_(2 * p.grad - last, alpha=-group["lr"])
                        self.state[p]["last"] = p.grad.clone()

    g, d = Gen(), Disc()
    og, od = Optimistic(g.parameters(), 0.01), Optimistic(d.parameters(), 0.01)
    for _ in range(steps):
        d_step(g, d, od, truth)
        g_step(g, d, og, truth)
    return {"g": g, "d": d, "og": og, "od": od}


def made_each_epoch(steps: int, truth: Truth) -> dict[str, Any]:
    """Hand-made learning-rate schedules: the optimizers are built anew every few rounds."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for i in range(steps):
        if i % 4 == 0:
            og, od = adam(g, lr=1e-3 / (1 + i)), adam(d, lr=1e-3 / (1 + i))
        d_step(g, d, od, truth)
        g_step(g, d, og, truth)
    return {"g": g, "d": d, "og": og, "od": od}


def closures(steps: int, truth: Truth) -> dict[str, Any]:
    """Everything happens inside opt.step(closure), as for LBFGS or in Lightning's automatic mode."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)

    def of_d() -> Tensor:
        od.zero_grad()
        loss = bce(d(data()), 1.0) + bce(d(g(noise()).detach()), 0.0)
        loss.backward()
        truth.saw(real_d=1, fake_d=1)
        return loss

    def of_g() -> Tensor:
        og.zero_grad()
        loss = bce(d(g(noise())), 1.0)
        loss.backward()
        truth.saw(fake_g=1)
        return loss

    for _ in range(steps):
        od.step(of_d)
        og.step(of_g)
    return {"g": g, "d": d, "og": og, "od": od}


def accumulation(steps: int, truth: Truth) -> dict[str, Any]:
    """BigGAN-sized batches in parts: two D steps of three batches, one G step of three, losses divided."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        for _ in range(2):
            od.zero_grad()
            for _ in range(3):
                fake = g(noise()).detach()
                ((F.relu(1 - d(data())) + F.relu(1 + d(fake))).mean() / 3).backward()
                truth.saw(real_d=1, fake_d=1)
            od.step()
        og.zero_grad()
        for _ in range(3):
            (-d(g(noise())).mean() / 3).backward()
            truth.saw(fake_g=1)
        og.step()
    return {"g": g, "d": d, "og": og, "od": od}


def steps_at_the_end(steps: int, truth: Truth) -> dict[str, Any]:
    """The popular cure for "modified by an inplace operation": two backward passes first, then two steps, G's first."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fake = g(noise())
        og.zero_grad()
        bce(d(fake), 1.0).backward()
        od.zero_grad()
        (bce(d(data()), 1.0) + bce(d(fake.detach()), 0.0)).backward()
        og.step()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def one_call_for_both(steps: int, truth: Truth) -> dict[str, Any]:
    """Softmax GAN: one pair of D calls feeds D's step and then G's; each backward names the weights it is for."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        og.zero_grad()
        od.zero_grad()
        y_real, y_fake = d(data()), d(g(noise()))
        total = torch.logsumexp(-torch.cat([y_real, y_fake]), 0).sum()
        loss_d = y_real.mean() + total
        loss_g = (y_real.sum() + y_fake.sum()) / (2 * N) + total
        loss_d.backward(retain_graph=True, inputs=list(d.parameters()))
        loss_g.backward(inputs=list(g.parameters()))
        od.step()
        og.step()
        truth.saw(real_d=1, fake_d=1)
    return {"g": g, "d": d, "og": og, "od": od}


def schedules_and_norms(steps: int, truth: Truth) -> dict[str, Any]:
    """Large models: clipped norms, gradients cleaned and re-assigned, schedulers, zero_grad that keeps zeros."""
    g, d = Gen(), nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
    og = torch.optim.SGD(g.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    od = torch.optim.AdamW(d.parameters(), lr=1e-3, foreach=True)
    plans = [torch.optim.lr_scheduler.LambdaLR(o, lambda i: 0.9**i) for o in (og, od)]

    def clean(net: nn.Module) -> None:
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        for p in net.parameters():
            p.grad = torch.nan_to_num(p.grad, nan=0.0).reshape(p.shape).clone()

    for i in range(steps):
        od.zero_grad(set_to_none=False)
        (bce(d(data()), 1.0) + bce(d(g(noise()).detach()), 0.0)).backward()
        clean(d)
        od.step()
        og.zero_grad(set_to_none=False)
        bce(d(g(noise())), 1.0).backward()
        clean(g)
        for group in og.param_groups:
            group["lr"], group["momentum"] = 0.01 * (1 + i / steps), 0.8
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
        for plan in plans:
            plan.step()
    return {"g": g, "d": d, "og": og, "od": od}


def zeroed_after(steps: int, truth: Truth) -> dict[str, Any]:
    """Distillation code: zero_grad comes after each step, and G's leak is wiped between D's backward and D's step."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        (bce(d(data()), 1.0) + bce(d(g(noise())), 0.0)).backward()
        og.zero_grad()
        od.step()
        od.zero_grad()
        bce(d(g(noise())), 1.0).backward()
        og.step()
        for p in (*g.parameters(), *d.parameters()):
            p.grad = None
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}
