"""Chains of nets, codes in place of samples, wrong conditions, and gradients whose sign misleads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._parts import Disc, Gen, N, Truth, X, Z, adam, bce, data, g_step, noise
from .augmentation import augment


def front_end(steps: int, truth: Truth) -> dict[str, Any]:
    """InfoGAN in its usual PyTorch form: a front end feeds D's head and the code's head, which G's optimizer holds.

    The front end and D's head on top of it are one call of D.
    """
    g, q = Gen(), nn.Sequential(nn.Linear(16, 8), nn.LeakyReLU(0.1), nn.Linear(8, 2))
    front, head = nn.Sequential(nn.Linear(X, 16), nn.LeakyReLU(0.1)), nn.Sequential(nn.Linear(16, 1), nn.Sigmoid())
    og, od, loss = adam(g, q), adam(front, head), nn.BCELoss()
    for _ in range(steps):
        od.zero_grad()
        loss(head(front(data())), torch.ones(N, 1)).backward()
        z = noise()
        fake = g(z)
        loss(head(front(fake.detach())), torch.zeros(N, 1)).backward()
        od.step()
        og.zero_grad()
        h = front(fake)
        (loss(head(h), torch.ones(N, 1)) + F.mse_loss(q(h), z[:, :2])).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "g_codes": q, "d_front": front, "d_head": head, "og": og, "od": od}


def recurrent(steps: int, truth: Truth) -> dict[str, Any]:
    """Sequence GANs: G is a cell that is called once for each element; D sees the stacked sequence, detached after."""

    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.out = nn.GRUCell(Z + 1, 8), nn.Linear(8, 1)

        def forward(self, z: Tensor, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            h = self.cell(torch.cat([z, x], 1), h)
            return self.out(h), h

    g, d = Cell(), Disc(inputs=4)
    og, od = adam(g), adam(d)

    def sequence() -> Tensor:
        x, h, out = torch.zeros(N, 1), torch.zeros(N, 8), []
        for _ in range(4):
            x, h = g(noise(), x, h)
            out.append(x)
        return torch.cat(out, 1)

    for _ in range(steps):
        od.zero_grad()
        for part in data(2 * N, 4).chunk(2):
            bce(d(part), 1.0).div(2).backward()
        bce(d(sequence().detach()), 0.0).backward()
        od.step()
        og.zero_grad()
        bce(d(sequence()), 1.0).backward()
        og.step()
        truth.saw(real_d=2, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def codes_of_data(steps: int, truth: Truth) -> dict[str, Any]:
    """Latent GANs: what is real for D comes out of an encoder that learns beside it, and never to please D."""
    encoder, decoder, g, d = Gen(X, Z), Gen(Z, X), Gen(Z, Z), Disc(inputs=Z)
    oa, og, od = adam(encoder, decoder), adam(g), adam(d)
    for _ in range(steps):
        x = data()
        oa.zero_grad()
        code = encoder(x)
        F.mse_loss(decoder(code), x).backward()
        oa.step()
        od.zero_grad()
        fakes = [g(noise()).detach() for _ in range(2)]
        (2 * bce(d(code.detach()), 1.0) + bce(d(fakes[0]), 0.0) + bce(d(fakes[1]), 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(d(g(noise())), 1.0).backward()
        og.step()
        truth.saw(real_d=1, fake_d=2, fake_g=1)
    return {"g": g, "d": d, "encoder": encoder, "decoder": decoder, "oa": oa, "og": og, "od": od}


def wrong_conditions(steps: int, truth: Truth) -> dict[str, Any]:
    """Text to image: D also sees reals with somebody else's condition, and learns to call them fake."""

    class Matching(Disc):
        def forward(self, x: Tensor, c: Tensor) -> Tensor:
            return self.body(torch.cat([x, c], 1))

    g, d = Gen(Z + 3), Matching(inputs=X + 3)
    og, od = adam(g), adam(d)
    for _ in range(steps):
        x, c = data(), torch.randn(N, 3)
        fake = g(torch.cat([noise(), c], 1))
        od.zero_grad()
        wrong = bce(d(x, c.roll(1, 0)), 0.0)
        (bce(d(x, c), 1.0) + 0.5 * (wrong + bce(d(fake.detach(), c), 0.0))).backward()
        od.step()
        og.zero_grad()
        bce(d(fake, c), 1.0).backward()
        og.step()
        truth.saw(real_d=2, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def features_of_reals(steps: int, truth: Truth) -> dict[str, Any]:
    """VAE-GAN's perceptual loss: in G's step D's features of reals are compared, and keep their graph."""

    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.end = nn.Sequential(nn.Linear(X, 16), nn.LeakyReLU(0.2)), nn.Linear(16, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.trunk(x)
            return self.end(h), h

    g, d = Gen(X, X), Hidden()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        x = data()
        od.zero_grad()
        (bce(d(x)[0], 1.0) + bce(d(g(x).detach())[0], 0.0)).backward()
        od.step()
        og.zero_grad()
        fake = g(x)
        score, features = d(fake)
        (0.1 * bce(score, 1.0) + F.mse_loss(features, d(x)[1])).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1, real_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def signs_that_mislead(steps: int, truth: Truth) -> dict[str, Any]:
    """Least squares, augmented and detached fakes: at first D is below both targets, and all gradients point one way.

    Only once D has come between the targets do the gradients tell real from fake.
    """
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for i in range(steps):
        with torch.no_grad():
            d.body[2].bias.fill_(-1.0 if i < 5 else 0.5)
            d.body[2].weight.clamp_(-0.05, 0.05)
        fake = g(noise())
        od.zero_grad()
        for part in data().chunk(2):
            (d(augment(part)) - 1).square().mean().backward()
        d(augment(fake.detach())).square().mean().backward()
        od.step()
        og.zero_grad()
        (d(augment(fake)) - 1).square().mean().backward()
        og.step()
        truth.saw(real_d=2, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def labels_flipped_and_augmented(steps: int, truth: Truth) -> dict[str, Any]:
    """Augmented, detached fakes, and every fifth round the targets of real and fake are swapped."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for i in range(steps):
        yes, no = (0.0, 1.0) if i % 5 == 4 else (1.0, 0.0)
        od.zero_grad()
        for part in data().chunk(2):
            bce(d(augment(part)), yes).div(2).backward()
        bce(d(augment(g(noise()).detach())), no).backward()
        od.step()
        g_step(g, d, og, truth)
        truth.saw(real_d=2, fake_d=1)
    return {"g": g, "d": d, "og": og, "od": od}


def energies_augmented(steps: int, truth: Truth) -> dict[str, Any]:
    """An autoencoder as D behind augmentation: the gradient at its output points from its input or towards it."""
    g, d = Gen(), nn.Sequential(nn.Linear(X, 8), nn.ReLU(), nn.Linear(8, X))
    og, od = adam(g), adam(d)
    for _ in range(steps):
        fake = g(noise())
        x, y = augment(data()), augment(fake.detach())
        od.zero_grad()
        (F.mse_loss(d(x), x) + F.relu(1 - F.mse_loss(d(y), y))).backward()
        od.step()
        og.zero_grad()
        y = augment(fake)
        F.mse_loss(d(y), y).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}
