"""More than one generator or discriminator, encoders beside them, and nets that play no role."""

from __future__ import annotations

import itertools
import random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._parts import Disc, Gen, N, Truth, X, Z, adam, bce, d_step, data, g_step, noise


def two_discriminators(steps: int, truth: Truth) -> dict[str, Any]:
    """D2GAN, GMAN: two Ds in one optimizer, gradients accumulated over two batches, weights clipped after the step."""
    g, d1, d2 = Gen(), Disc(), Disc()
    og = torch.optim.RMSprop(g.parameters(), lr=1e-3)
    od = torch.optim.RMSprop([*d1.parameters(), *d2.parameters()], lr=1e-3)
    for _ in range(steps):
        od.zero_grad()
        for _ in range(2):
            fake, real = g(noise()).detach(), data()
            for d in (d1, d2):
                (d(fake).mean() - d(real).mean()).backward()
                truth.saw(real_d=1, fake_d=1)
        od.step()
        with torch.no_grad():
            for p in (*d1.parameters(), *d2.parameters()):
                p.clamp_(-0.1, 0.1)
        og.zero_grad()
        fake = g(noise())
        (-d1(fake).mean() - d2(fake).mean()).backward()
        og.step()
        truth.saw(fake_g=2)
    return {"g": g, "d_1": d1, "d_2": d2, "og": og, "od": od}


def cycle(steps: int, truth: Truth) -> dict[str, Any]:
    """CycleGAN: two Gs in one optimizer, two Ds in another, G first, D toggled; each G also gets reals and fakes."""
    g_ab, g_ba, d_a, d_b = Gen(X, X), Gen(X, X), Disc(), Disc()
    og = torch.optim.Adam(itertools.chain(g_ab.parameters(), g_ba.parameters()), lr=1e-3)
    od = torch.optim.Adam(itertools.chain(d_a.parameters(), d_b.parameters()), lr=1e-3)
    for _ in range(steps):
        a, b = data(), data() + 1
        fake_b, fake_a = g_ab(a), g_ba(b)
        back_a, back_b = g_ba(fake_b), g_ab(fake_a)
        for p in (*d_a.parameters(), *d_b.parameters()):
            p.requires_grad = False
        og.zero_grad()
        same = F.l1_loss(g_ab(b), b) + F.l1_loss(g_ba(a), a)
        there = (d_b(fake_b) - 1).square().mean() + (d_a(fake_a) - 1).square().mean()
        (there + 10 * (F.l1_loss(back_a, a) + F.l1_loss(back_b, b)) + 5 * same).backward()
        og.step()
        truth.saw(fake_g=2)
        for p in (*d_a.parameters(), *d_b.parameters()):
            p.requires_grad = True
        od.zero_grad()
        for d, real, fake in ((d_a, a, fake_a), (d_b, b, fake_b)):
            (0.5 * ((d(real) - 1).square().mean() + d(fake.detach()).square().mean())).backward()
            truth.saw(real_d=1, fake_d=1)
        od.step()
    return {"g_ab": g_ab, "g_ba": g_ba, "d_a": d_a, "d_b": d_b, "og": og, "od": od}


def cycle_with_two_d_optimizers(steps: int, truth: Truth) -> dict[str, Any]:
    """DiscoGAN, DualGAN: an optimizer for each D, one for both Gs."""
    g_ab, g_ba, d_a, d_b = Gen(X, X), Gen(X, X), Disc(), Disc()
    og, od_a, od_b = adam(g_ab, g_ba), adam(d_a), adam(d_b)
    for _ in range(steps):
        a, b = data(), data() + 1
        og.zero_grad()
        fake_b, fake_a = g_ab(a), g_ba(b)
        loss = bce(d_b(fake_b), 1.0) + bce(d_a(fake_a), 1.0)
        (loss + F.mse_loss(g_ba(fake_b), a) + F.mse_loss(g_ab(fake_a), b)).backward()
        og.step()
        truth.saw(fake_g=2)
        for d, od, real, fake in ((d_a, od_a, a, fake_a), (d_b, od_b, b, fake_b)):
            od.zero_grad()
            ((bce(d(real), 1.0) + bce(d(fake.detach()), 0.0)) / 2).backward()
            od.step()
            truth.saw(real_d=1, fake_d=1)
    return {"g_ab": g_ab, "g_ba": g_ba, "d_a": d_a, "d_b": d_b, "og": og, "od_a": od_a, "od_b": od_b}


def multi_domain(steps: int, truth: Truth) -> dict[str, Any]:
    """StarGAN: one G that takes reals and a target domain, its own fakes for the cycle; one D for all domains."""

    class Domains(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main = nn.Sequential(nn.Linear(X, 16), nn.LeakyReLU(0.01))
            self.source, self.domain = nn.Linear(16, 1), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.main(x)
            return self.source(h), self.domain(h)

    g, d = Gen(X + 3, X), Domains()
    og, od = adam(g), adam(d)
    for i in range(steps * 2):
        x, here, there = data(), torch.randint(0, 3, (N,)), torch.randint(0, 3, (N,))
        out, cls = d(x)
        fake = g(torch.cat([x, F.one_hot(there, 3).float()], 1))
        out_fake, _ = d(fake.detach())
        share = torch.rand(N, 1)
        mixed = (share * x.data + (1 - share) * fake.data).requires_grad_(True)
        y, _ = d(mixed)
        (slope,) = torch.autograd.grad(y, mixed, torch.ones_like(y), retain_graph=True, create_graph=True)
        penalty = ((slope.square().sum(1).sqrt() - 1) ** 2).mean()
        og.zero_grad()
        od.zero_grad()
        (out_fake.mean() - out.mean() + F.cross_entropy(cls, here) + 10 * penalty).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, penalty_d=1)
        if i % 2 == 1:
            fake = g(torch.cat([x, F.one_hot(there, 3).float()], 1))
            y, cls = d(fake)
            back = g(torch.cat([fake, F.one_hot(here, 3).float()], 1))
            og.zero_grad()
            od.zero_grad()
            (-y.mean() + F.cross_entropy(cls, there) + 10 * (x - back).abs().mean()).backward()
            og.step()
            truth.saw(fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def coupled(steps: int, truth: Truth) -> dict[str, Any]:
    """CoGAN: one D call takes the reals of two domains, or the fakes of two; G returns both."""

    class Two(nn.Module):
        def __init__(self, inputs: int, outputs: int, shared_first: bool) -> None:
            super().__init__()
            self.shared = nn.Linear(inputs if shared_first else 16, 16 if shared_first else outputs)
            self.one = nn.Linear(16 if shared_first else inputs, outputs if shared_first else 16)
            self.two = nn.Linear(16 if shared_first else inputs, outputs if shared_first else 16)

    class TwoGen(Two):
        def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
            h = F.relu(self.shared(z))
            return self.one(h), self.two(h)

    class TwoDisc(Two):
        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return self.shared(F.leaky_relu(self.one(a), 0.2)), self.shared(F.leaky_relu(self.two(b), 0.2))

    g, d = TwoGen(Z, X, True), TwoDisc(X, 1, False)
    og, od = adam(g), adam(d)
    for _ in range(steps):
        og.zero_grad()
        one, two = g(noise())
        y_one, y_two = d(one, two)
        ((bce(y_one, 1.0) + bce(y_two, 1.0)) / 2).backward()
        og.step()
        od.zero_grad()
        real_one, real_two = d(data(), data() + 1)
        fake_one, fake_two = d(one.detach(), two.detach())
        ((bce(real_one, 1.0) + bce(real_two, 1.0) + bce(fake_one, 0.0) + bce(fake_two, 0.0)) / 4).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def adversarial_autoencoder(steps: int, truth: Truth) -> dict[str, Any]:
    """AAE: encoder and decoder in one optimizer; D tells codes from the prior, and no data row ever enters it."""
    encoder, decoder, d = Gen(X, Z), Gen(Z, X), Disc(nn.Sigmoid(), inputs=Z)
    og = torch.optim.Adam(itertools.chain(encoder.parameters(), decoder.parameters()), lr=1e-3)
    od = adam(d)
    for _ in range(steps):
        x = data()
        og.zero_grad()
        code = encoder(x)
        loss = 0.01 * F.binary_cross_entropy(d(code), torch.ones(N, 1)) + F.l1_loss(decoder(code), x)
        loss.backward()
        og.step()
        od.zero_grad()
        real = F.binary_cross_entropy(d(noise()), torch.ones(N, 1))
        fake = F.binary_cross_entropy(d(code.detach()), torch.zeros(N, 1))
        (0.5 * (real + fake)).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g_encoder": encoder, "g_decoder": decoder, "d": d, "og": og, "od": od}


def vae_gan(steps: int, truth: Truth) -> dict[str, Any]:
    """VAE-GAN: encoder and decoder have an optimizer each; D sees reconstructions and samples of the prior."""
    encoder, decoder, d = Gen(X, Z), Gen(Z, X), Disc()
    oe, og, od = adam(encoder), adam(decoder), adam(d)
    for _ in range(steps):
        x = data()
        od.zero_grad()
        code = encoder(x)
        rebuilt, sample = decoder(code), decoder(noise())
        (bce(d(x), 1.0) + 0.5 * bce(d(rebuilt.detach()), 0.0) + 0.5 * bce(d(sample.detach()), 0.0)).backward()
        od.step()
        truth.saw(real_d=1, fake_d=2)
        og.zero_grad()
        oe.zero_grad()
        adversarial = bce(d(rebuilt), 1.0) + bce(d(sample), 1.0)
        (adversarial + F.mse_loss(rebuilt, x) + 0.01 * code.square().mean()).backward()
        og.step()
        oe.step()
        truth.saw(fake_g=2)
    return {"g_encoder": encoder, "g_decoder": decoder, "d": d, "oe": oe, "og": og, "od": od}


def many_generators(steps: int, truth: Truth) -> dict[str, Any]:
    """MGAN, MAD-GAN: several Gs share D, which sees all their fakes in one call."""
    gs, d = [Gen() for _ in range(3)], Disc()
    og, od = adam(*gs), adam(d)
    for _ in range(steps):
        od.zero_grad()
        fake = torch.cat([g(noise(5)) for g in gs])
        (bce(d(data(15)), 1.0) + bce(d(fake.detach()), 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(d(torch.cat([g(noise(5)) for g in gs])), 1.0).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g_1": gs[0], "g_2": gs[1], "g_3": gs[2], "d": d, "og": og, "od": od}


def one_of_many(steps: int, truth: Truth) -> dict[str, Any]:
    """Ensembles: each round draws one of three Ds by chance, and only that one is called and stepped."""
    g, ds = Gen(), [Disc() for _ in range(3)]
    og, ods = adam(g), [adam(d) for d in ds]
    for i in range(steps):
        k = i % 3 if i < 3 else random.randrange(3)
        d_step(g, ds[k], ods[k], truth)
        g_step(g, ds[k], og, truth)
    return {"g": g, "d_1": ds[0], "d_2": ds[1], "d_3": ds[2], "og": og, "o1": ods[0], "o2": ods[1], "o3": ods[2]}


def classifier_first(steps: int, truth: Truth) -> dict[str, Any]:
    """Mode counting: the script trains a classifier of its own first, and later feeds it fakes to count the digits."""
    classifier = nn.Sequential(nn.Linear(X, 16), nn.ReLU(), nn.Linear(16, 2))
    oc = adam(classifier)
    for _ in range(8):
        x = data()
        oc.zero_grad()
        F.cross_entropy(classifier(x), (x[:, 0] > 1).long()).backward()
        oc.step()
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for i in range(steps):
        d_step(g, d, od, truth)
        g_step(g, d, og, truth)
        if i % 4 == 3:
            with torch.no_grad():
                classifier(g(noise())).argmax(1).bincount(minlength=2)
    return {"g": g, "d": d, "classifier": classifier, "oc": oc, "og": og, "od": od}


def reads_codes_back(steps: int, truth: Truth) -> dict[str, Any]:
    """ClusterGAN, pixel-level domain adaptation: G's optimizer also holds a net that reads fakes, and never feeds D."""
    g, reader, d = Gen(), Gen(X, Z), Disc()
    og, od = adam(g, reader), adam(d)
    for _ in range(steps):
        og.zero_grad()
        z = noise()
        fake = g(z)
        (bce(d(fake), 1.0) + F.mse_loss(reader(fake), z)).backward()
        og.step()
        d_step(g, d, od, truth)
        truth.saw(fake_g=1)
    return {"g": g, "g_reader": reader, "d": d, "og": og, "od": od}


def encoder_steps_first(steps: int, truth: Truth) -> dict[str, Any]:
    """BicycleGAN: encoder and G each have an optimizer; the encoder steps first, and G then gets a second loss."""
    encoder, g, d_vae, d_lr = Gen(X, Z), Gen(Z + X, X), Disc(), Disc()
    oe, og, ov, ol = adam(encoder), adam(g), adam(d_vae), adam(d_lr)
    for _ in range(steps):
        a = data()
        b = a.flip(1) + 0.1
        oe.zero_grad()
        og.zero_grad()
        fake_b = g(torch.cat([encoder(b), a], 1))
        z = noise()
        other_b = g(torch.cat([z, a], 1))
        ((d_vae(fake_b) - 1).square().mean() + (d_lr(other_b) - 1).square().mean() + F.l1_loss(fake_b, b)).backward()
        oe.step()
        (0.5 * F.l1_loss(encoder(g(torch.cat([z, a], 1))), z)).backward()
        og.step()
        truth.saw(fake_g=2)
        for d, od, fake in ((d_vae, ov, fake_b), (d_lr, ol, other_b)):
            od.zero_grad()
            ((d(b) - 1).square().mean() + d(fake.detach()).square().mean()).backward()
            od.step()
            truth.saw(real_d=1, fake_d=1)
    return {"g_encoder": encoder, "g": g, "d_vae": d_vae, "d_lr": d_lr, "oe": oe, "og": og, "ov": ov, "ol": ol}
