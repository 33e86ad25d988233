"""Fakes from the past: pools, histories, fakes made long before D sees them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ._parts import Disc, Gen, N, Truth, X, Z, adam, bce, data, g_step, noise


class Pool:
    """CycleGAN's buffer of past fakes: half of what is asked for is swapped for something older."""

    def __init__(self, size: int) -> None:
        self.size, self.images = size, list[Tensor]()

    def query(self, images: Tensor) -> Tensor:
        chosen = []
        for image in images.data:
            image = image.unsqueeze(0)
            if len(self.images) < self.size:
                self.images.append(image)
            elif random.uniform(0, 1) > 0.5:
                place = random.randint(0, self.size - 1)
                image, self.images[place] = self.images[place].clone(), image
            chosen.append(image)
        return torch.cat(chosen)


def pool_of_single_images(steps: int, truth: Truth) -> dict[str, Any]:
    """CycleGAN at its batch size of one, with a pool of fifty: D's fakes are up to hundreds of steps old."""
    g, d, pool = Gen(X, X), Disc(), Pool(50)
    og, od = adam(g), adam(d)
    for _ in range(10 * steps):
        og.zero_grad()
        fake = g(data(1))
        (d(fake) - 1).square().mean().backward()
        og.step()
        od.zero_grad()
        (0.5 * ((d(data(1)) - 1).square().mean() + d(pool.query(fake)).square().mean())).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    truth.iterations = 10 * steps
    return {"g": g, "d": d, "og": og, "od": od}


def pool_of_batches(steps: int, truth: Truth) -> dict[str, Any]:
    """The same pool under batches of sixteen: a batch of D's fakes mixes rows of several ages."""
    g, d, pool = Gen(), Disc(), Pool(200)
    og, od = adam(g), adam(d)
    for _ in range(2 * steps):
        og.zero_grad()
        fake = g(noise())
        bce(d(fake), 1.0).backward()
        og.step()
        od.zero_grad()
        (bce(d(data()), 1.0) + bce(d(pool.query(fake.detach())), 0.0)).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    truth.iterations = 2 * steps
    return {"g": g, "d": d, "og": og, "od": od}


def history_in_numpy(steps: int, truth: Truth) -> dict[str, Any]:
    """SimGAN: a numpy array of refined images, a random half of which replaces half of D's fakes; D in parts."""
    g, d = Gen(X, X), Disc()
    og, od = adam(g), adam(d)
    history = np.zeros((0, X), dtype=np.float32)
    for _ in range(steps):
        og.zero_grad()
        x = data()
        fake = g(x)
        (bce(d(fake), 1.0) + 0.1 * F.l1_loss(fake, x)).backward()
        og.step()
        fresh = g(data()).detach().numpy()
        shown = fresh.copy()
        if len(history) >= N // 2:
            shown[: N // 2] = history[np.random.choice(len(history), N // 2, replace=False)]
        keep = np.random.permutation(N)[: N // 2]
        history = np.concatenate([history, fresh[keep]])[-256:]
        od.zero_grad()
        (bce(d(data()), 1.0) + bce(d(torch.from_numpy(shown)), 0.0)).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def made_beforehand(steps: int, truth: Truth) -> dict[str, Any]:
    """SeqGAN: twelve batches of fakes are generated first, then D trains on them for a while, shuffled."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        with torch.no_grad():
            stock = torch.cat([g(noise()) for _ in range(12)])
        order = torch.randperm(len(stock))
        for part in order.split(N)[:6]:
            od.zero_grad()
            (bce(d(data()), 1.0) + bce(d(stock[part]), 0.0)).backward()
            od.step()
            truth.saw(real_d=1, fake_d=1)
        g_step(g, d, og, truth)
    return {"g": g, "d": d, "og": og, "od": od}


def latents_kept(steps: int, truth: Truth) -> dict[str, Any]:
    """Optimised codes: a table of latents, one for each image, is held by G's optimizer too."""
    g, d = Gen(), Disc()
    codes, images = torch.nn.Embedding(64, Z), data(64)
    og, od = adam(g, codes), adam(d)
    for _ in range(steps):
        rows = torch.randint(0, 64, (N,))
        fake = g(codes(rows))
        od.zero_grad()
        (bce(d(images[rows]), 1.0) + bce(d(fake.detach()), 0.0)).backward()
        od.step()
        og.zero_grad()
        (bce(d(fake), 1.0) + F.mse_loss(fake, images[rows])).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "g_codes": codes, "d": d, "og": og, "od": od}
