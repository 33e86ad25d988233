"""What goes into D beside samples, and what comes out of it beside a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._parts import Disc, Gen, N, Truth, X, Z, adam, bce, data, noise


class Features(nn.Module):
    """A D with a trunk, a score and class scores."""

    def __init__(self, inputs: int = X, classes: int = 2) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(inputs, 16), nn.LeakyReLU(0.2))
        self.score, self.classes = nn.Linear(16, 1), nn.Linear(16, classes)


def cat_in_one_call(steps: int, truth: Truth) -> dict[str, Any]:
    """D sees cat(fake, real), the fakes made without a graph, as in BigGAN."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        with torch.no_grad():
            fake = g(noise())
        y_fake, y_real = d(torch.cat([fake, data()])).split(N)
        od.zero_grad()
        (F.relu(1 - y_real).mean() + F.relu(1 + y_fake).mean()).backward()
        od.step()
        og.zero_grad()
        (-d(g(noise())).mean()).backward()
        og.step()
        truth.saw(cat_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def shuffled_cat(steps: int, truth: Truth) -> dict[str, Any]:
    """From-scratch tutorials with labels as targets: real and attached fake rows in one batch, shuffled."""
    g, d = Gen(), Disc()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        order = torch.randperm(2 * N)
        x = torch.cat([data(), g(noise())])[order]
        target = torch.cat([torch.ones(N, 1), torch.zeros(N, 1)])[order]
        od.zero_grad()
        F.binary_cross_entropy_with_logits(d(x), target).backward()
        od.step()
        og.zero_grad()
        bce(d(g(noise())), 1.0).backward()
        og.step()
        truth.saw(cat_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def packed(steps: int, truth: Truth) -> dict[str, Any]:
    """PacGAN, CTGAN: D folds groups of four rows into one, so that 16 rows give 4 scores."""

    class Packed(Disc):
        def forward(self, x: Tensor) -> Tensor:
            return self.body(x.reshape(-1, 4 * X))

    g, d = Gen(), Packed(inputs=4 * X)
    og, od = adam(g), adam(d)
    for _ in range(steps):
        od.zero_grad(set_to_none=False)
        fake = g(noise())
        (-(d(data()).mean() - d(fake).mean())).backward()
        od.step()
        og.zero_grad(set_to_none=False)
        (-d(g(noise())).mean()).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def patches(steps: int, truth: Truth) -> dict[str, Any]:
    """PatchGAN with images: convolutions, batch norm, a map of scores for each sample, least squares."""
    g = nn.Sequential(nn.Linear(Z, 32), nn.Unflatten(1, (2, 4, 4)), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 3, 1, 1))
    d = nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.BatchNorm2d(4), nn.LeakyReLU(0.2, True), nn.Conv2d(4, 1, 3, 2, 1))
    og, od = adam(g), adam(d)
    for _ in range(steps):
        real, fake = torch.randn(N, 1, 4, 4), g(noise())
        og.zero_grad()
        (d(fake) - 1).square().mean().backward()
        og.step()
        od.zero_grad()
        ((d(real) - 1).square().mean() + d(fake.detach()).square().mean()).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def auxiliary_classes(steps: int, truth: Truth) -> dict[str, Any]:
    """ACGAN: D returns (validity, class scores), and both losses reach it."""

    class Classes(Features):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.trunk(x)
            return torch.sigmoid(self.score(h)), self.classes(h)

    g, d = Gen(Z + 2), Classes()
    og, od = adam(g), adam(d)

    def loss(out: tuple[Tensor, Tensor], target: float, y: Tensor) -> Tensor:
        return 0.5 * (F.binary_cross_entropy(out[0], torch.full((N, 1), target)) + F.cross_entropy(out[1], y))

    for _ in range(steps):
        y = torch.randint(0, 2, (N,))
        og.zero_grad()
        fake = g(torch.cat([noise(), F.one_hot(y, 2).float()], 1))
        loss(d(fake), 1.0, y).backward()
        og.step()
        x = data()
        od.zero_grad()
        ((loss(d(x), 1.0, (x[:, 0] > 1).long()) + loss(d(fake.detach()), 0.0, y)) / 2).backward()
        od.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def one_class_more(steps: int, truth: Truth) -> dict[str, Any]:
    """Semi-supervised GANs: D has K + 1 classes and no score; labelled and unlabelled reals are two calls."""
    g, d = Gen(), nn.Sequential(nn.Linear(X, 16), nn.LeakyReLU(0.2), nn.Linear(16, 3))
    og, od = adam(g), adam(d)
    for _ in range(steps):
        x = data()
        od.zero_grad()
        labelled = F.cross_entropy(d(x), (x[:, 0] > 1).long())
        unlabelled = -F.log_softmax(d(data()), 1)[:, :2].logsumexp(1).mean()
        fake = F.cross_entropy(d(g(noise()).detach()), torch.full((N,), 2))
        (labelled + unlabelled + fake).backward()
        od.step()
        og.zero_grad()
        (-F.log_softmax(d(g(noise())), 1)[:, :2].logsumexp(1).mean()).backward()
        og.step()
        truth.saw(real_d=2, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def conditional(steps: int, truth: Truth) -> dict[str, Any]:
    """cGAN: D(x, label) with one-hot labels as wide as a sample; the labels of fakes are drawn anew."""

    class Conditional(Disc):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.body(torch.cat([x, y], 1))

    g, d = Gen(Z + 2), Conditional(inputs=X + 2)
    og, od = adam(g), adam(d)

    def labels() -> Tensor:
        return F.one_hot(torch.randint(0, 2, (N,)), 2).float()

    for _ in range(steps):
        y = labels()
        fake = g(torch.cat([noise(), y], 1))
        od.zero_grad()
        (bce(d(data(), labels()), 1.0) + bce(d(fake.detach(), y), 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(d(fake, y), 1.0).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def projection(steps: int, truth: Truth) -> dict[str, Any]:
    """SNGAN projection: D(x, y) with integer labels by keyword; hinge; spectral norm, whose forward changes buffers."""

    class Projection(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.utils.parametrizations.spectral_norm(nn.Linear(X, 16))
            self.end = nn.utils.parametrizations.spectral_norm(nn.Linear(16, 1))
            self.embed = nn.utils.parametrizations.spectral_norm(nn.Embedding(2, 16))

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            h = F.relu(self.body(x))
            return self.end(h) + (self.embed(y) * h).sum(1, keepdim=True)

    g, d = Gen(), Projection()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        y = torch.randint(0, 2, (N,))
        od.zero_grad()
        y_real, y_fake = d(data(), y=y), d(g(noise()).detach(), y=y)
        (F.relu(1 - y_real).mean() + F.relu(1 + y_fake).mean()).backward()
        od.step()
        og.zero_grad()
        (-d(g(noise()), y=y).mean()).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def dictionaries(steps: int, truth: Truth) -> dict[str, Any]:
    """StudioGAN: D returns a dict, whose first entry is not the one that the loss uses."""

    class Named(Features):
        def forward(self, x: Tensor, label: Tensor) -> dict[str, Any]:
            h = self.trunk(x)
            return {"h": h, "label": label, "adv_output": self.score(h).squeeze(1), "cls_output": self.classes(h)}

    g, d = Gen(), Named()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        label = torch.randint(0, 2, (N,))
        od.zero_grad()
        real, fake = d(data(), label), d(g(noise()).detach(), label)
        (F.relu(1 - real["adv_output"]).mean() + F.relu(1 + fake["adv_output"]).mean()).backward()
        od.step()
        og.zero_grad()
        (-d(g(noise()), label)["adv_output"].mean()).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def dataclasses_out(steps: int, truth: Truth) -> dict[str, Any]:
    """Model libraries: both nets return dataclasses; samples and scores are fields of them."""

    @dataclass
    class Output:
        sample: Tensor
        hidden: Tensor | None = None

    class GenOut(Gen):
        def forward(self, z: Tensor) -> Output:
            return Output(sample=super().forward(z))

    class DiscOut(Features):
        def forward(self, x: Tensor) -> Output:
            h = self.trunk(x)
            return Output(sample=self.score(h), hidden=h)

    g, d = GenOut(), DiscOut()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        od.zero_grad()
        (bce(d(data()).sample, 1.0) + bce(d(g(noise()).sample.detach()).sample, 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(d(g(noise()).sample).sample, 1.0).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def dictionary_in(steps: int, truth: Truth) -> dict[str, Any]:
    """Layout and text GANs: D takes a dict with the sample and its mask, and returns a tuple that begins with text."""

    class Masked(Disc):
        def forward(self, batch: dict[str, Tensor]) -> tuple[str, Tensor]:
            return "score", self.body(batch["sample"] * batch["mask"])

    g, d = Gen(), Masked()
    og, od = adam(g), adam(d)
    for _ in range(steps):
        mask = (torch.rand(N, 1) < 0.9).float()
        od.zero_grad()
        y_real = d({"mask": mask, "sample": data()})[1]
        y_fake = d({"mask": mask, "sample": g(noise()).detach()})[1]
        (bce(y_real, 1.0) + bce(y_fake, 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(d({"mask": mask, "sample": g(noise())})[1], 1.0).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}


def one_hot_samples(steps: int, truth: Truth) -> dict[str, Any]:
    """Text and tables: samples are one-hot, by a straight-through Gumbel softmax, so that fakes equal reals exactly."""
    classes = 3

    class OneHot(Gen):
        def forward(self, z: Tensor) -> Tensor:
            return F.gumbel_softmax(super().forward(z), hard=True)

    g, d = OneHot(outputs=classes), Disc(inputs=classes)
    og, od = adam(g), adam(d)
    for _ in range(steps):
        real = F.one_hot(torch.randint(0, classes, (N,)), classes).float()
        od.zero_grad()
        (bce(d(real), 1.0) + bce(d(g(noise()).detach()), 0.0)).backward()
        od.step()
        og.zero_grad()
        bce(d(g(noise())), 1.0).backward()
        og.step()
        truth.saw(real_d=1, fake_d=1, fake_g=1)
    return {"g": g, "d": d, "og": og, "od": od}
