"""Rounds in which something does not happen: steps left out, losses that are no numbers, halves that are not due."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ._parts import Disc, Gen, N, Truth, X, adam, bce, d_step, data, g_step, noise


def skipped_after_backward(steps: int, truth: Truth) -> dict[str, Any]:
    """D too strong? Its step is left out after its backward pass; the next zero_grad throws the gradients away."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for i in range(steps):
        od.zero_grad()
        (bce(d(data()), 1.0) + bce(d(g(noise()).detach()), 0.0)).backward()
        if i % 3 != 2:
            od.step()
            truth.saw(real_d=1, fake_d=1)
        g_step(g, d, og, truth)
    truth.gaps = True
    return {"g": g, "d": d, "og": og, "od": od}


def skipped_before_backward(steps: int, truth: Truth) -> dict[str, Any]:
    """D too strong? Its scores are computed to find out, and then not even the backward pass is done."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for i in range(steps):
        d.zero_grad()
        y_real, y_fake = d(data()), d(g(noise()).detach())
        accuracy = ((y_real > 0).float().mean() + (y_fake < 0).float().mean()) / 2
        if i % 4 == 0 or float(accuracy) < 0.4:
            (bce(y_real, 1.0) + bce(y_fake, 0.0)).backward()
            od.step()
            truth.saw(real_d=1, fake_d=1)
        g_step(g, d, og, truth)
    truth.gaps = True
    return {"g": g, "d": d, "og": og, "od": od}


def not_a_number(steps: int, truth: Truth) -> dict[str, Any]:
    """A damaged batch: the loss is NaN, found out before the backward pass or after it, and the round ends there."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    done = 0
    for i in range(steps):
        real = data()
        if i % 5 == 3:
            real[0, 0] = float("nan")
        od.zero_grad()
        og.zero_grad()
        loss = bce(d(real), 1.0) + bce(d(g(noise()).detach()), 0.0)
        if i < steps // 2 and not torch.isfinite(loss):
            continue
        loss.backward()
        if not all(bool(p.grad.isfinite().all()) for p in d.parameters() if p.grad is not None):
            continue
        od.step()
        truth.saw(real_d=1, fake_d=1)
        g_step(g, d, og, truth)
        done += 1
    truth.iterations = done
    return {"g": g, "d": d, "og": og, "od": od}


def zeroed_and_left(steps: int, truth: Truth) -> dict[str, Any]:
    """Loops with many conditions: zero_grad, forward and backward of G, then `continue`, as the round is not G's."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    done = 0
    for i in range(steps):
        d_step(g, d, od, truth)
        og.zero_grad()
        loss = bce(d(g(noise())), 1.0)
        loss.backward()
        if i % 2 == 1:
            og.zero_grad()
            continue
        og.step()
        truth.saw(fake_g=1)
        done += 1
    truth.iterations = done
    return {"g": g, "d": d, "og": og, "od": od}


def scaler_overflows(steps: int, truth: Truth) -> dict[str, Any]:
    """Mixed precision: the scale starts too high, so the first gradients are inf and the scaler leaves steps out."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    scalers = [torch.amp.GradScaler("cpu", init_scale=2.0**22, growth_interval=5) for _ in range(2)]
    for _ in range(steps):
        od.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            fake = g(noise())
            loss = bce(d(data()), 1.0) + bce(d(fake.detach()), 0.0)
        scalers[0].scale(loss).backward()
        scalers[0].unscale_(od)
        torch.nn.utils.clip_grad_norm_(d.parameters(), 1.0)
        scalers[0].step(od)
        scalers[0].update()
        og.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = bce(d(fake), 1.0)
        scalers[1].scale(loss).backward()
        scalers[1].step(og)
        scalers[1].update()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    truth.iterations, truth.gaps = None, True
    return {"g": g, "d": d, "og": og, "od": od, "scales": [scaler.state_dict() for scaler in scalers]}


def frozen_first(steps: int, truth: Truth) -> dict[str, Any]:
    """Finetuning: D's lower layers are frozen, its optimizer holds the rest; D rests for the first rounds."""
    g, d = Gen(), nn.Sequential(nn.Linear(X, 16), nn.BatchNorm1d(16), nn.LeakyReLU(0.2, True), nn.Linear(16, 1))
    d[0].requires_grad_(False)
    og, od = adam(g), torch.optim.Adam([p for p in d.parameters() if p.requires_grad], lr=1e-3)
    for i in range(steps):
        if i >= 4:
            d_step(g, d, od, truth)
        g_step(g, d, og, truth)
    truth.gaps = True
    return {"g": g, "d": d, "og": og, "od": od}


def validation(steps: int, truth: Truth) -> dict[str, Any]:
    """Held-out losses: every few rounds D is called on other reals and fakes, with grad on and nothing done with it."""
    g, d = Gen(), Disc(nn.Sigmoid())
    og, od, loss = adam(g), adam(d), nn.BCELoss()
    seen = []
    for i in range(steps):
        od.zero_grad()
        (loss(d(data()), torch.ones(N, 1)) + loss(d(g(noise()).detach()), torch.zeros(N, 1))).backward()
        od.step()
        og.zero_grad()
        loss(d(g(noise())), torch.ones(N, 1)).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
        if i % 3 == 1:
            d.eval()
            g.eval()
            for _ in range(2):
                held_out = loss(d(data()), torch.ones(N, 1)) + loss(d(g(noise())), torch.zeros(N, 1))
                seen.append(held_out.item())
            d.train()
            g.train()
    return {"g": g, "d": d, "og": og, "od": od, "seen": seen}
