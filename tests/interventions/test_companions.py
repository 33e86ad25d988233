"""Techniques that have G make samples of its own ask D with the labels that G was given for them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import D, G, Hand, Script, assert_same, own_stream, ring, script, train, watched
from interventions.test_idioms import LabelD, conditional
from torch import Tensor, nn
from torch.nn import functional

import gandiag
from gandiag.errors import TechniqueRefused

Made = tuple[Tensor, Tensor]


class LabelG(G):
    """G(z, y): a latent and a class."""

    def __init__(self) -> None:
        super().__init__()
        self.label = nn.Embedding(8, 2)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.layers(z + self.label(y))


def labelled(s: Script, hand: Hand) -> None:
    """Labels for G's step that are others than in D's step, and more of them."""
    for i, real in enumerate(s.batches):
        y_real, y = (torch.arange(len(real)) + i) % 8, torch.randint(8, (len(real),))
        z = hand.latent(s, (torch.randn(len(real), 2), y))
        s.optimizer_d.zero_grad()
        loss = functional.softplus(-s.d(real, y_real)).mean() + functional.softplus(s.d(s.g(z, y).detach(), y)).mean()
        if (term := hand.d_term(s, real=(real, y_real), fake=(z, y))) is not None:
            loss = loss + term
        loss.backward()
        s.optimizer_d.step()
        hand.after_d_step(s)

        y = torch.randint(8, (2 * len(real),))
        z = hand.latent(s, (torch.randn(len(y), 2), y))
        s.optimizer_g.zero_grad()
        loss = functional.softplus(-s.d(s.g(z, y=y), y)).mean()
        if (term := hand.g_term(s, real=(real, y_real), fake=(z, y))) is not None:
            loss = loss + term
        loss.backward()
        s.optimizer_g.step()
        hand.after_g_step(s)


class Plain(Hand):
    def latent(self, s: Script, z: Made) -> Tensor:
        return z[0]


class ZCR(Plain):
    def __init__(self) -> None:
        self.stream = own_stream()

    def near(self, z: Tensor) -> Tensor:
        return z + 0.3 * torch.randn(z.shape, generator=self.stream)

    def d_term(self, s: Script, *, real: Made, fake: Made) -> Tensor:
        z, y = fake
        made, near = s.g(z, y).detach(), s.g(self.near(z), y).detach()
        return 2 * (s.d(made, y) - s.d(near, y)).square().mean()

    def g_term(self, s: Script, *, real: Made, fake: Made) -> Tensor:
        z, y = fake
        return -0.2 * (s.g(z, y) - s.g(self.near(z), y)).square().mean()


class Consensus(Plain):
    def __init__(self) -> None:
        self.begun = False

    def length(self, s: Script, real: Made, fake: Made) -> Tensor:
        z, y = fake
        d_real, d_fake = s.d(*real), s.d(s.g(z, y), y)
        loss_d = functional.softplus(-d_real).mean() + functional.softplus(d_fake).mean()
        of_d = torch.autograd.grad(loss_d, list(s.d.parameters()), create_graph=True)
        of_g = torch.autograd.grad(functional.softplus(-d_fake).mean(), list(s.g.parameters()), create_graph=True)
        return 0.05 / 2 * sum(slope.square().sum() for slope in (*of_d, *of_g))

    def d_term(self, s: Script, *, real: Made, fake: Made) -> Tensor | None:
        return self.length(s, real, fake) if self.begun else None

    def g_term(self, s: Script, *, real: Made, fake: Made) -> Tensor:
        self.begun = True
        return self.length(s, real, fake)


class LatentOptimisation(Hand):
    def __init__(self) -> None:
        self.begun = False

    def after_d_step(self, s: Script) -> None:
        self.begun = True

    def latent(self, s: Script, z: Made) -> Tensor:
        latent, y = z
        if not self.begun:
            return latent
        latent = latent.requires_grad_()
        (slope,) = torch.autograd.grad(s.d(s.g(latent, y), y).sum(), latent)
        return (latent + 0.5 * slope / (0.2 + slope.square().sum(1, keepdim=True))).clamp(-1, 1).detach()


class ModeSeeking(Plain):
    def g_term(self, s: Script, *, real: Made, fake: Made) -> Tensor:
        z, y = fake
        other = torch.cat([z[-1:], z[:-1]])
        apart = (s.g(z, y) - s.g(other, y)).abs().mean() / (z - other).abs().mean()
        return 0.01 / (apart + 1e-5)


@pytest.mark.parametrize(
    ("technique", "hand"),
    [
        ("zcr:radius=0.3,d=2,g=0.2", ZCR),
        ("consensus:gamma=0.05", Consensus),
        ("latent_optimisation:alpha=0.5,beta=0.2,rate=1,bound=1", LatentOptimisation),
        ("mode_seeking:weight=0.01", ModeSeeking),
    ],
)
def test_the_labels_are_those_that_g_was_given(technique: str, hand: type[Hand], tmp_path: Path) -> None:
    """Within 1e-6 of the loop by hand, whose steps of D and of G differ in their labels and in how many there are."""
    ours, theirs = (script(d=LabelD, g=LabelG) for _ in range(2))
    watched(lambda s, _: labelled(s, Plain()), ours, [technique], tmp_path)
    train(labelled, theirs, hand())
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_fakes_without_a_graph_in_one_batch_with_the_real_ones(tmp_path: Path) -> None:
    """Found by their values alone, beside G's labels at the same rows: both loops end alike, within 1e-6."""

    def together(s: Script, hand: Hand) -> None:
        for i, real in enumerate(s.batches):
            y_real, y = (torch.arange(len(real)) + i) % 8, torch.randint(8, (len(real),))
            z = torch.randn(len(real), 2)
            with torch.no_grad():
                fake = s.g(z, y)
            s.optimizer_d.zero_grad()
            d_real, d_fake = s.d(torch.cat([real, fake]), torch.cat([y_real, y])).chunk(2)
            loss = functional.softplus(-d_real).mean() + functional.softplus(d_fake).mean()
            if (term := hand.d_term(s, real=(real, y_real), fake=(z, y))) is not None:
                loss = loss + term
            loss.backward()
            s.optimizer_d.step()
            z, y = torch.randn(len(real), 2), torch.randint(8, (len(real),))
            s.optimizer_g.zero_grad()
            loss = functional.softplus(-s.d(s.g(z, y), y)).mean()
            if (term := hand.g_term(s, real=(real, y_real), fake=(z, y))) is not None:
                loss = loss + term
            loss.backward()
            s.optimizer_g.step()

    ours, theirs = (script(d=LabelD, g=LabelG) for _ in range(2))
    watched(together, ours, ["zcr:radius=0.3,d=2,g=0.2"], tmp_path)
    train(together, theirs, ZCR())
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


@pytest.mark.parametrize("name", ["zcr", "consensus", "latent_optimisation"])
def test_labels_that_g_does_not_know_are_refused(name: str, tmp_path: Path) -> None:
    """A D with labels beside a G without: nobody knows the label of a sample that the technique makes."""
    with pytest.raises(TechniqueRefused, match=f"{name} has G make samples.*LabelD is given something beside"):
        watched(conditional, script(d=LabelD, data=lambda: ring(steps=3)), [name], tmp_path)


def test_a_generator_that_ignores_its_latents_pays_under_mode_seeking(tmp_path: Path) -> None:
    """Samples that differ by their labels alone are no variety: the latents' gain grows as it does not without."""

    class Deaf(LabelG):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(1e-3))

        def forward(self, z: Tensor, y: Tensor) -> Tensor:
            return self.layers(self.gain * z + self.label(y))

    ours, plain = (script(d=LabelD, g=Deaf) for _ in range(2))
    watched(lambda s, _: labelled(s, Plain()), ours, ["mode_seeking"], tmp_path)
    train(labelled, plain, Plain())
    assert ours.g.gain > 2 * plain.g.gain.abs()


class Two(nn.Module):
    """Two nets under one optimizer, as scripts that translate pictures both ways have them."""

    def __init__(self, a: nn.Module, b: nn.Module) -> None:
        super().__init__()
        self.a, self.b = a, b


def test_each_discriminator_is_asked_about_its_own_generator(tmp_path: Path) -> None:
    """Samples of 2 and of 3 numbers: the wrong D could not even take them. Both are trained by the term."""

    def both(s: Script, hand: Hand) -> None:
        pairs = ((s.g.a, s.d.a), (s.g.b, s.d.b))
        for real in s.batches:
            reals = (real, torch.cat([real, real[:, :1]], dim=1))
            fakes = [g(torch.randn(len(real), 2)) for g, _ in pairs]
            s.optimizer_d.zero_grad()
            for (_, d), x, fake in zip(pairs, reals, fakes, strict=True):
                (functional.softplus(-d(x)).mean() + functional.softplus(d(fake.detach())).mean()).backward()
            s.optimizer_d.step()
            s.optimizer_g.zero_grad()
            sum(functional.softplus(-d(fake)).mean() for (_, d), fake in zip(pairs, fakes, strict=True)).backward()
            s.optimizer_g.step()

    def nets() -> Script:
        wide = G()
        wide.layers[2] = nn.Linear(12, 3)
        return script(g=lambda: Two(G(), wide), d=lambda: Two(D(), D(inputs=3)), data=lambda: ring(steps=10))

    torch.manual_seed(0)
    ours, plain = (nets() for _ in range(2))
    plain.g.load_state_dict(ours.g.state_dict())
    plain.d.load_state_dict(ours.d.state_dict())
    optimizers = (ours.optimizer_g, ours.optimizer_d)
    g, d = [ours.g.a, ours.g.b], [ours.d.a, ours.d.b]
    with gandiag.watch(
        g, d, run_dir=tmp_path / "run", techniques=["zcr:g=0"], optimizers=optimizers, strict=True
    ) as run:
        train(both, ours)
    train(both, plain)
    assert run.interventions.counts == {"zcr": 10}
    for name in ("a", "b"):
        assert not torch.equal(getattr(ours.d, name).first.weight, getattr(plain.d, name).first.weight)


@pytest.mark.parametrize("name", ["zcr", "latent_optimisation"])
def test_a_condition_that_is_joined_to_the_samples_is_refused(name: str, tmp_path: Path) -> None:
    """D(cat(x, c)): what the script puts between G and D is not known for samples of the technique's own."""

    def joined(s: Script, hand: Hand) -> None:
        for real in s.batches:
            s.optimizer_d.zero_grad()
            fake, c = s.g(torch.randn(len(real), 2)), torch.randn(len(real), 3)
            loss = functional.softplus(-s.d(torch.cat([real, c], 1))).mean()
            (loss + functional.softplus(s.d(torch.cat([fake, c], 1))).mean()).backward()
            s.optimizer_d.step()
            s.optimizer_g.zero_grad()
            fake = s.g(torch.randn(len(real), 2))
            functional.softplus(-s.d(torch.cat([fake, c], 1))).mean().backward()
            s.optimizer_g.step()

    with pytest.raises(TechniqueRefused, match=r"is shown samples of shape \(5,\).*G makes \(2,\)"):
        watched(joined, script(d=lambda: D(inputs=5), data=lambda: ring(steps=4)), [name], tmp_path)
