"""Penalties on D's gradient: on interpolates, on the call itself, as a step of its own."""

from __future__ import annotations

import warnings
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import grad as early_grad  # bound before anybody can tap it
from torch.nn import functional as F

from ._parts import Disc, Gen, N, Truth, X, adam, bce, d_step, data, g_step, noise


def wgan_gp(steps: int, truth: Truth) -> dict[str, Any]:
    """WGAN-GP: three critic steps to one of G, fakes attached in D's step, a call on interpolates."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for i in range(steps * 3):
        od.zero_grad()
        real, fake = data(), g(noise())
        share = torch.rand(N, 1)
        mixed = (share * real.data + (1 - share) * fake.data).requires_grad_(True)
        (slope,) = torch.autograd.grad(d(mixed).sum(), mixed, create_graph=True)
        loss = d(fake).mean() - d(real).mean() + 10 * ((slope.norm(dim=1) - 1) ** 2).mean()
        loss.backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, penalty_d=1)
        if i % 3 == 2:
            og.zero_grad()
            (-d(g(noise())).mean()).backward()
            og.step()
            truth.saw(fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def interpolate_attached(steps: int, truth: Truth) -> dict[str, Any]:
    """CTGAN: the interpolates hang on G's graph; fake comes before real."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fake, real = g(noise()), data()
        y_fake, y_real = d(fake), d(real)
        mixed = real + torch.rand(N, 1) * (fake - real)
        (slope,) = torch.autograd.grad(d(mixed).sum(), mixed, create_graph=True)
        od.zero_grad()
        ((slope.norm(dim=1) - 1) ** 2).mean().backward(retain_graph=True)
        (y_fake.mean() - y_real.mean()).backward()
        od.step()
        og.zero_grad()
        (-d(g(noise())).mean()).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, penalty_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def early_bound_grad(steps: int, truth: Truth) -> dict[str, Any]:
    """`from torch.autograd import grad` at the top of the script; the penalty is a method of D."""

    class Critic(Disc):
        def penalty(self, real: Tensor, fake: Tensor) -> Tensor:
            mixed = torch.lerp(fake, real, torch.rand(len(real), 1)).requires_grad_()
            y = self(mixed)
            slope = early_grad(y, mixed, torch.ones_like(y), create_graph=True, retain_graph=True)[0]
            return ((slope.norm(2, dim=1) - 1) ** 2).mean()

    g, d = Gen(), Critic()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        real, fake = data(), g(noise()).detach()
        od.zero_grad()
        (d(fake).mean() - d(real).mean() + 10 * d.penalty(real, fake)).backward()
        od.step()
        og.zero_grad()
        (-d(g(noise())).mean()).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, penalty_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def r1_on_the_call(steps: int, truth: Truth) -> dict[str, Any]:
    """GAN_stability: the penalty is taken on the real call itself, which gets two gradients at its output."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        real = data().requires_grad_()
        y = d(real)
        (slope,) = torch.autograd.grad(y.sum(), real, create_graph=True)
        with torch.no_grad():
            fake = g(noise())
        fake.requires_grad_()  # a grad-requiring leaf
        od.zero_grad()
        (F.softplus(-y).mean() + F.softplus(d(fake)).mean() + slope.square().sum(1).mean()).backward()
        od.step()
        og.zero_grad()
        F.softplus(-d(g(noise()))).mean().backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def both_calls_penalised(steps: int, truth: Truth) -> dict[str, Any]:
    """WGAN-div: gradients of both calls by their inputs, the fake attached to G."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        od.zero_grad()
        real, fake = data().requires_grad_(), g(noise())
        y_real, y_fake = d(real), d(fake)
        ones = torch.ones(N, 1)
        (at_real,) = torch.autograd.grad(y_real, real, ones, create_graph=True, retain_graph=True, only_inputs=True)
        (at_fake,) = torch.autograd.grad(y_fake, fake, ones, create_graph=True, retain_graph=True, only_inputs=True)
        penalty = (at_real.square().sum(1) ** 3 + at_fake.square().sum(1) ** 3).mean()
        (-y_real.mean() + y_fake.mean() + penalty).backward()
        od.step()
        og.zero_grad()
        (-d(g(noise())).mean()).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def dragan(steps: int, truth: Truth) -> dict[str, Any]:
    """DRAGAN: D ends in a sigmoid, whose second derivative brings a plain gradient to the penalty's output too."""
    g, d = Gen(), Disc(nn.Sigmoid())
    og, od, loss = adam(g), adam(d), nn.BCELoss()
    for _ in range(steps):
        real = data()
        od.zero_grad()
        (loss(d(real), torch.ones(N, 1)) + loss(d(g(noise()).detach()), torch.zeros(N, 1))).backward()
        near = (real + 0.5 * real.std() * torch.rand(N, X)).requires_grad_()
        y = d(near)
        (slope,) = torch.autograd.grad(y, near, torch.ones(N, 1), create_graph=True)
        (10 * ((slope.norm(2, dim=1) - 1) ** 2).mean()).backward()
        od.step()
        og.zero_grad()
        loss(d(g(noise())), torch.ones(N, 1)).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, penalty_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def r1_on_a_second_call(steps: int, truth: Truth) -> dict[str, Any]:
    """Penalties as helpers: R1 and R2 call D anew on the same real and fake batches."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)

    def slope_at(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(outputs=d(x).sum(), inputs=x, create_graph=True)
        return slope.square().sum(1).mean()

    for _ in range(steps):
        real, fake = data(), g(noise()).detach()
        od.zero_grad()
        (bce(d(real), 1.0) + bce(d(fake), 0.0) + slope_at(real) + slope_at(fake)).backward()
        od.step()
        g_step(g, d, og, truth)
        truth.saw(real_d=1, fake_d=1, penalty_d=2)
    return {"g": g, "d": d, "og": og, "od": od}


def lazy_r1_and_path_length(steps: int, truth: Truth) -> dict[str, Any]:
    """StyleGAN2 in PyTorch: R1 every second round and path length every fourth, each a step of its own.

    The R1 step adds `0 * logits`, so that all of D takes part. The path length step does not call D at all.
    """
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for i in range(steps):
        g.requires_grad_(False)
        d.requires_grad_(True)
        d.zero_grad()
        (F.softplus(-d(data())).mean() + F.softplus(d(g(noise()))).mean()).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1)
        if i % 2 == 0:
            real = data().requires_grad_()
            y = d(real)
            (slope,) = torch.autograd.grad(outputs=y.sum(), inputs=real, create_graph=True)
            d.zero_grad()
            (5 * slope.square().sum(1).mean() + 0 * y[0].sum()).backward()
            od.step()
            truth.saw(penalty_d=1)
        g.requires_grad_(True)
        d.requires_grad_(False)
        g.zero_grad()
        F.softplus(-d(g(noise()))).mean().backward()
        og.step()
        truth.saw(fake_g=1)
        if i % 4 == 0:
            w = g.mapping(noise())
            image = g.synthesis(w)
            (slope,) = torch.autograd.grad((image * torch.randn_like(image)).sum(), w, create_graph=True)
            g.zero_grad()
            ((slope.square().sum(1).sqrt() - 1).square().mean() + 0 * image[0, 0]).backward()
            og.step()
    truth.iterations = steps + (steps + 3) // 4
    truth.gaps = True
    return {"g": g, "d": d, "og": og, "od": od}


def zeroed_logits(steps: int, truth: Truth) -> dict[str, Any]:
    """StyleGAN2-ADA: phases; in D's regularisation phase the loss is `logits * 0 + r1`, row by row."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for i in range(steps):
        og.zero_grad(set_to_none=True)
        d.requires_grad_(False)
        F.softplus(-d(g.synthesis(g.mapping(noise())))).mean().mul(1).backward()
        og.step()
        d.requires_grad_(True)
        truth.saw(fake_g=1)
        g.requires_grad_(False)
        od.zero_grad(set_to_none=True)
        F.softplus(d(g.synthesis(g.mapping(noise())))).mean().mul(1).backward()
        F.softplus(-d(data().detach().requires_grad_(False))).mean().mul(1).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1)
        if i % 4 == 0:
            od.zero_grad(set_to_none=True)
            real = data().detach().requires_grad_(True)
            y = d(real)
            r1 = torch.autograd.grad([y.sum()], [real], create_graph=True, only_inputs=True)[0].square().sum(1)
            (y * 0 + r1[:, None] * 5).mean().mul(4).backward()
            od.step()
            truth.saw(penalty_d=1)
        g.requires_grad_(True)
    return {"g": g, "d": d, "og": og, "od": od}


def each_loss_steps(steps: int, truth: Truth) -> dict[str, Any]:
    """Trainers with a list of losses: each makes its own fakes, zeroes and steps; one of D's holds only a penalty."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        real = data()
        od.zero_grad()
        (d(g(noise()).detach()).mean() - d(real).mean()).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1)
        od.zero_grad()
        fake, share = g(noise()), torch.rand(N, 1)
        mixed = (share * real + (1 - share) * fake).detach().requires_grad_()
        y = d(mixed)
        (slope,) = torch.autograd.grad(y, mixed, torch.ones_like(y), create_graph=True, retain_graph=True)
        (10 * ((slope.norm(2, dim=1) - 1) ** 2).mean()).backward()
        od.step()
        truth.saw(penalty_d=1)
        og.zero_grad()
        (-d(g(noise())).mean()).backward()
        og.step()
        truth.saw(fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def unrolled(steps: int, truth: Truth) -> dict[str, Any]:
    """Unrolled GAN: D looks ahead with backward(create_graph=True), and is put back after G's step."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        d_step(g, d, od, truth)
        kept = deepcopy(d.state_dict())
        for _ in range(2):
            od.zero_grad()
            with torch.no_grad():
                fake = g(noise())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of a cycle, which zero_grad breaks
                (bce(d(data()), 1.0) + bce(d(fake), 0.0)).backward(create_graph=True)
            od.step()
            truth.saw(real_d=1, fake_d=1)
        g_step(g, d, og, truth)
        d.load_state_dict(kept)
        del kept
    od.zero_grad()
    return {"g": g, "d": d, "og": og, "od": od}
