"""GANs with a task: image to image, vocoders, autoencoding Ds, scales, growing, feature matching."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._parts import Disc, Gen, N, Truth, X, adam, bce, data, noise


class Hidden(nn.Module):
    """A D that returns its score and its features."""

    def __init__(self, inputs: int = X) -> None:
        super().__init__()
        self.trunk, self.end = nn.Sequential(nn.Linear(inputs, 16), nn.LeakyReLU(0.2)), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return self.end(h), h


def pix2pix_channels(steps: int, truth: Truth) -> dict[str, Any]:
    """pix2pix: D gets cat(A, B) along the channels, so each row is half real even if B is fake.

    G gets a real A. A mirrored pair of reals goes into D as well.
    """
    g, d = Gen(X, X), Disc(inputs=2 * X)
    og, od = adam(g), adam(d)
    for _ in range(steps):
        a = data()
        b = a.flip(1) + 0.1
        fake = g(a)
        d.requires_grad_(True)
        od.zero_grad()
        y_fake = d(torch.cat((a, fake), 1).detach())
        y_real = d(torch.cat((a, b), 1))
        y_turned = d(torch.cat((b.flip(1), a.flip(1)), 1))
        ((bce(y_fake, 0.0) + 0.5 * bce(y_real, 1.0) + 0.5 * bce(y_turned, 1.0)) * 0.5).backward()
        od.step()
        d.requires_grad_(False)
        og.zero_grad()
        (bce(d(torch.cat((a, fake), 1)), 1.0) + 10 * F.l1_loss(fake, b)).backward()
        og.step()
        truth.saw(real_d=2, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def pix2pix_arguments(steps: int, truth: Truth) -> dict[str, Any]:
    """pix2pix again: D(B, A) takes the condition, a real of the same shape, as a second argument."""

    class Two(Disc):
        def forward(self, image: Tensor, condition: Tensor) -> Tensor:
            return self.body(torch.cat([image, condition], 1))

    g, d = Gen(X, X), Two(inputs=2 * X)
    og, od = adam(g), adam(d)
    for _ in range(steps):
        a = data()
        b = a.flip(1) + 0.1
        og.zero_grad()
        fake = g(a)
        ((d(fake, a) - 1).square().mean() + 10 * F.l1_loss(fake, b)).backward()
        og.step()
        od.zero_grad()
        (0.5 * ((d(b, a) - 1).square().mean() + d(fake.detach(), a).square().mean())).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def super_resolution(steps: int, truth: Truth) -> dict[str, Any]:
    """ESRGAN: relativistic, with a frozen feature net and pixel loss; the first rounds train G alone, without D."""
    g, d, vgg = Gen(1, X), Disc(), nn.Sequential(nn.Linear(X, 16), nn.ReLU()).eval().requires_grad_(False)
    og, od = adam(g), adam(d)
    for i in range(steps):
        high = data()
        og.zero_grad()
        made = g(high[:, :1])
        pixel = F.l1_loss(made, high)
        if i < 4:
            pixel.backward()
            og.step()
            continue
        y_real, y_fake = d(high).detach(), d(made)
        adversarial = bce(y_fake - y_real.mean(0, keepdim=True), 1.0)
        (F.l1_loss(vgg(made), vgg(high).detach()) + 0.005 * adversarial + 0.01 * pixel).backward()
        og.step()
        od.zero_grad()
        y_real, y_fake = d(high), d(made.detach())
        real = bce(y_real - y_fake.mean(0, keepdim=True), 1.0)
        fake = bce(y_fake - y_real.mean(0, keepdim=True), 0.0)
        ((real + fake) / 2).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    # Before D is called for the first time nobody can tell from outside that these are iterations of a GAN.
    truth.iterations, truth.gaps = None, True
    return {"g": g, "d": d, "vgg": vgg, "og": og, "od": od}


def vocoder(steps: int, truth: Truth) -> dict[str, Any]:
    """HiFi-GAN: D(real, fake) in one call returns four lists; two such Ds in one optimizer; feature matching."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([Hidden(), Hidden()])

        def forward(self, y: Tensor, y_hat: Tensor) -> tuple[list[Tensor], ...]:
            real, fake = [part(y) for part in self.parts], [part(y_hat) for part in self.parts]
            return [r[0] for r in real], [f[0] for f in fake], [r[1] for r in real], [f[1] for f in fake]

    g, mpd, msd = Gen(1, X), Pair(), Pair()
    og = torch.optim.AdamW(g.parameters(), 1e-3, betas=(0.8, 0.99))
    od = torch.optim.AdamW(itertools.chain(msd.parameters(), mpd.parameters()), 1e-3, betas=(0.8, 0.99))
    for _ in range(steps):
        y = data()
        y_hat = g(y[:, :1])
        od.zero_grad()
        loss = torch.zeros(())
        for d in (mpd, msd):
            real, fake, _, _ = d(y, y_hat.detach())
            for r, f in zip(real, fake, strict=True):
                loss = loss + (1 - r).square().mean() + f.square().mean()
        loss.backward()
        od.step()
        og.zero_grad()
        loss = 45 * F.l1_loss(y, y_hat)
        for d in (mpd, msd):
            _, fake, at_real, at_fake = d(y, y_hat)
            for f, a, b in zip(fake, at_real, at_fake, strict=True):
                loss = loss + (1 - f).square().mean() + 2 * F.l1_loss(a, b)
        loss.backward()
        og.step()
        truth.saw(pair_d=2, pair_g=2)
    return {"g": g, "d_mpd": mpd, "d_msd": msd, "og": og, "od": od}


def energies(steps: int, truth: Truth) -> dict[str, Any]:
    """EBGAN: D is an autoencoder that returns (image, code); the loss compares the image with D's own input."""

    class Auto(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = nn.Sequential(nn.Linear(X, 8), nn.ReLU()), nn.Linear(8, X)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            code = self.encoder(x)
            return self.decoder(code), code

    g, d = Gen(), Auto()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        og.zero_grad()
        fake = g(noise())
        rebuilt, code = d(fake)
        unit = F.normalize(code, dim=1)
        pull = ((unit @ unit.T).square().sum() - N) / (N * (N - 1))
        (F.mse_loss(rebuilt, fake.detach()) + 0.1 * pull).backward()
        og.step()
        od.zero_grad()
        real = data()
        rebuilt_real, _ = d(real)
        rebuilt_fake, _ = d(fake.detach())
        at_real, at_fake = F.mse_loss(rebuilt_real, real), F.mse_loss(rebuilt_fake, fake.detach())
        (at_real + F.relu(1 - at_fake)).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def balance(steps: int, truth: Truth) -> dict[str, Any]:
    """BEGAN: an autoencoding D in one piece, and a weight k on its fake half that starts at exactly zero."""
    g, d, k = Gen(), nn.Sequential(nn.Linear(X, 8), nn.ReLU(), nn.Linear(8, X)), 0.0
    og, od = adam(g), adam(d)
    for _ in range(steps):
        real = data()
        fake = g(noise())
        og.zero_grad()
        (d(fake) - fake).abs().mean().backward()
        og.step()
        od.zero_grad()
        at_real, at_fake = (d(real) - real).abs().mean(), (d(fake.detach()) - fake.detach()).abs().mean()
        (at_real - k * at_fake).backward()
        od.step()
        k = min(max(k + 0.01 * float(0.75 * at_real.detach() - at_fake.detach()), 0.0), 1.0)
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def scales(steps: int, truth: Truth) -> dict[str, Any]:
    """FastGAN, MSG-GAN: G returns a list of sizes, D takes the list; fakes are detached one by one; D by keyword."""

    class Sizes(Gen):
        def forward(self, z: Tensor) -> list[Tensor]:
            big = super().forward(z)
            return [big, big.mean(1, keepdim=True)]

    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.big, self.small, self.rebuild = Disc(), Disc(inputs=1), nn.Linear(X, X)

        def forward(self, images: list[Tensor], label: str) -> list[Tensor]:
            out = [self.big(images[0]), self.small(images[1])]
            return [*out, self.rebuild(images[0])] if label == "real" else out

    g, d = Sizes(), Listed()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        x, fakes = data(), g(noise())
        d.zero_grad()
        big, small, rebuilt = d([x, x.mean(1, keepdim=True)], label="real")
        ((F.relu(1 - big) + F.relu(1 - small)).mean() + F.mse_loss(rebuilt, x)).backward()
        big, small = d([fake.detach() for fake in fakes], label="fake")
        (F.relu(1 + big) + F.relu(1 + small)).mean().backward()
        od.step()
        g.zero_grad()
        big, small = d(fakes, "fake")
        (-(big + small).mean()).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def growing(steps: int, truth: Truth) -> dict[str, Any]:
    """ProGAN: both nets take a blend and a stage as plain numbers; half-way the samples get wider, weights appear."""

    class GrowingGen(Gen):
        def __init__(self) -> None:
            super().__init__(outputs=8)
            self.ends = nn.ModuleList([nn.Linear(8, X), nn.Linear(8, 2 * X)])

        def forward(self, z: Tensor, alpha: float, stage: int) -> Tensor:
            h = super().forward(z)
            x = self.ends[stage](h)
            return x if stage == 0 else alpha * x + (1 - alpha) * self.ends[0](h).repeat_interleave(2, 1)

    class GrowingDisc(Disc):
        def __init__(self) -> None:
            super().__init__(inputs=8)
            self.starts = nn.ModuleList([nn.Linear(X, 8), nn.Linear(2 * X, 8)])

        def forward(self, x: Tensor, alpha: float, stage: int) -> Tensor:
            return super().forward(F.leaky_relu(self.starts[stage](x), 0.2)) * (1 + 0 * alpha)

    g, d = GrowingGen(), GrowingDisc()
    og, od = adam(g), adam(d)
    for i in range(steps):
        stage = int(i >= steps // 2)
        alpha = 1e-5 + i / steps
        real = data().repeat_interleave(1 + stage, 1)
        fake = g(noise(), alpha, stage)
        y_real, y_fake = d(real, alpha, stage), d(fake.detach(), alpha, stage)
        share = torch.rand(N, 1)
        mixed = (real * share + fake.detach() * (1 - share)).requires_grad_(True)
        slope = torch.autograd.grad(inputs=mixed, outputs=d(mixed, alpha, stage).sum(), create_graph=True)[0]
        od.zero_grad()
        penalty = ((slope.norm(2, dim=1) - 1) ** 2).mean()
        (y_fake.mean() - y_real.mean() + 10 * penalty + 0.001 * y_real.square().mean()).backward()
        od.step()
        og.zero_grad()
        (-d(fake, alpha, stage).mean()).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, penalty_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def feature_matching(steps: int, truth: Truth) -> dict[str, Any]:
    """Improved GAN: G's loss compares features and never looks at the score; D(real) is called there under no_grad."""
    g, d = Gen(), Hidden()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        od.zero_grad()
        (bce(d(data())[0], 1.0) + bce(d(g(noise()).detach())[0], 0.0)).backward()
        od.step()
        with torch.no_grad():
            wanted = d(data())[1].mean(0)
        og.zero_grad()
        (d(g(noise()))[1].mean(0) - wanted).square().mean().backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}
