"""Spectral regularisation of D's layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    ConvD,
    ConvG,
    D,
    Script,
    assert_same,
    dcgan,
    net_for,
    pictures,
    ring,
    script,
    train,
    watched,
)
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import register_parametrization

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.spectral_regularisation import _as_matrix, _as_weight, lifted


def test_what_has_sunk_is_lifted() -> None:
    """diag(4, 1, 2): over the largest it is (1, 0.25, 0.5); the second is lifted to 1, the third left alone."""
    first = torch.eye(3)[:, :2]
    found = lifted(torch.diag(torch.tensor([4.0, 1.0, 2.0])), first, first, torch.ones(2))
    torch.testing.assert_close(found, torch.diag(torch.tensor([1.0, 1.0, 0.5])))


def test_the_gradient_is_the_papers() -> None:
    """E - W_SN u1 v1^T - (dW / s1) u1 v1^T + sum (u1 v1^T - uk vk^T) uk vk^T, over s1, element by element."""
    weight = torch.randn(3, 4, requires_grad=True)
    u, s, vh = torch.linalg.svd(weight.detach(), full_matrices=False)
    jacobian = torch.autograd.functional.jacobian(lambda w: lifted(w, u[:, :2], vh[:2].t(), torch.ones(2)), weight)
    first, second = torch.outer(u[:, 0], vh[0]), torch.outer(u[:, 1], vh[1])
    added = (s[0] - s[1]) * second
    for a in range(3):
        for b in range(4):
            unit = torch.zeros(3, 4)
            unit[a, b] = 1
            bracket = (first - second)[a, b] * second - (weight.detach() + added) / s[0] * first[a, b]
            torch.testing.assert_close(jacobian[:, :, a, b], (unit + bracket) / s[0])


def test_a_transposed_convolution_and_back() -> None:
    """(in, out, k, k) becomes (out, in * k * k), and again itself."""
    layer = nn.ConvTranspose2d(3, 2, 2)
    assert torch.equal(_as_weight(_as_matrix(layer), layer), layer.weight)


class Compensated(nn.Module):
    """The paper's formula term by term, decomposed anew at each forward in train mode."""

    def __init__(self, weight: Tensor, *, static: float | None, every: int) -> None:
        super().__init__()
        self.static, self.every, self.calls = static, every, 0
        self.singular = torch.linalg.svd(weight.detach().flatten(1), full_matrices=False)
        self.highest = self.singular[1] / self.singular[1][0]

    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        if self.training:
            if self.calls % self.every == 0:
                self.singular = torch.linalg.svd(matrix.detach(), full_matrices=False)
                self.highest = torch.maximum(self.highest, self.singular[1] / self.singular[1][0])
            self.calls += 1
        u, _, vh = self.singular
        sigma = [u[:, k] @ matrix @ vh[k] for k in range(len(vh))]
        delta = torch.zeros_like(matrix)
        for k in range(1, len(sigma)):
            if self.static is None:
                delta = delta + (self.highest[k] * sigma[0] - sigma[k]) * torch.outer(u[:, k], vh[k])
            elif k < int(self.static * len(sigma)):
                delta = delta + (sigma[0] - sigma[k]) * torch.outer(u[:, k], vh[k])
        return ((matrix + delta) / sigma[0]).view_as(weight)


def compensate(s: Script, optimizer: object, *, static: float | None = None, every: int = 1) -> None:
    """Put it on each layer of D, and make D's optimizer anew, over the weights before it."""
    for layer in [m for m in s.d.modules() if isinstance(m, nn.Linear | nn.Conv2d)]:
        by_hand = Compensated(layer.weight, static=static, every=every)
        register_parametrization(layer, "weight", by_hand)
        by_hand.calls = 0  # torch has tried it
    s.optimizer_d = optimizer(s.d.parameters())


def compare(ours: Script, theirs: Script) -> None:
    found = {name: value for name, value in ours.tensors().items() if not name.startswith("optimizer_d")}
    wanted = {
        name.replace("parametrizations.weight.original", "weight"): value
        for name, value in theirs.tensors().items()
        if not name.startswith("optimizer_d")
    }
    assert_same(found, wanted, within=1e-6)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_static_compensation_equals_a_parametrisation(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: the twin adds the terms one by one."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    compensate(theirs, optimizer, static=0.5)
    watched(STYLES[style], ours, ["spectral_regularisation"], tmp_path)
    train(STYLES[style], theirs)
    compare(ours, theirs)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_dynamic_compensation_equals_a_parametrisation(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: each share of the largest is kept at the highest it has had."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    compensate(theirs, optimizer)
    watched(STYLES[style], ours, ["spectral_regularisation:compensation=dynamic"], tmp_path)
    train(STYLES[style], theirs)
    compare(ours, theirs)


def test_equals_the_parametrised_convolutional_loop(tmp_path: Path) -> None:
    """Convolutions are matrices with one row for each output channel; here decomposed at each fourth forward."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    made, settings = type(theirs.optimizer_d), theirs.optimizer_d.defaults
    compensate(theirs, lambda parameters: made(parameters, **settings), static=0.7, every=4)
    watched(dcgan, ours, ["spectral_regularisation:share=0.7,every=4"], tmp_path)
    train(dcgan, theirs)
    compare(ours, theirs)


@pytest.mark.parametrize("beside", ["pacgan", "minibatch_discrimination"])
def test_added_weights_are_normalised_with_their_layer(beside: str, tmp_path: Path) -> None:
    """The layer and what stands beside it are one wider matrix, with 1 as its largest singular value."""
    ours = script(d=net_for("dcgan"), data=lambda: ring(steps=8))
    run = watched(dcgan, ours, [beside, "spectral_regularisation"], tmp_path)
    wider, technique = run.techniques
    ((layer, added),) = wider.beside().items()
    changed = technique.weights(ours.d, training=False, update=False)
    whole = torch.cat([changed[part].flatten(1) for part in (layer, *added)], dim=1)
    torch.testing.assert_close(torch.linalg.matrix_norm(whole, 2).detach(), torch.tensor(1.0), rtol=0.05, atol=0)


def normalised() -> nn.Module:
    net = D()
    for layer in (net.first, net.middle, net.last):
        parametrizations.spectral_norm(layer)
    return net


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    """Two normalisations of one weight, gandiag's or the script's."""
    with pytest.raises(TechniqueRefused, match="choose one"):
        watched(dcgan, script(), ["spectral_norm", "spectral_regularisation"], tmp_path / "1")
    with pytest.raises(TechniqueRefused, match="normalised already"):
        watched(dcgan, script(d=normalised), ["spectral_regularisation"], tmp_path / "2")


@pytest.mark.parametrize("wrong", ["compensation=none", "share=0", "share=1.5", "every=0"])
def test_settings_that_mean_nothing_are_refused(wrong: str) -> None:
    """Each names itself."""
    with pytest.raises(UsageError, match=wrong.partition("=")[0]):
        parse(f"spectral_regularisation:{wrong}")
