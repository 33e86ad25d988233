"""What cannot work is refused with the reason, before a single weight has moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.gan_loops import D, Hand, Script, assert_same, dcgan, g_first, n_critic, net_for, ring, script, watched
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import gandiag
from gandiag.errors import TechniqueRefused


def refused(loop: Callable[..., None], s: Script, techniques: list[str], folder: Path, because: str) -> None:
    """The loop ends with TechniqueRefused, and nets and optimizers are as they were."""
    before = s.tensors()
    with pytest.raises(TechniqueRefused, match=because):
        watched(loop, s, techniques, folder)
    assert_same(s.tensors(), before)


@pytest.mark.parametrize(
    "techniques", [["r1", "rpgan_r1_r2"], ["wgan_gp", "r1"], ["rpgan_r1_r2", "label_smoothing"], ["ema", "ema"]]
)
def test_techniques_that_exclude_each_other(techniques: list[str], tmp_path: Path) -> None:
    """Two that replace the same loss, or the same one twice, are refused by name."""
    refused(dcgan, script(d=net_for("dcgan")), techniques, tmp_path, f"{techniques[0]}.*(together|twice)")


class NormD(D):
    """D with batch normalisation."""

    def __init__(self) -> None:
        super().__init__(sigmoid=True)
        self.norm = nn.BatchNorm1d(self.middle.out_features)

    def features(self, x: Tensor) -> Tensor:
        return self.norm(super().features(x))


@pytest.mark.parametrize("name", ["r1", "rpgan_r1_r2", "wgan_gp"])
def test_a_gradient_penalty_with_batch_norm_in_d(name: str, tmp_path: Path) -> None:
    """D's slope at one sample is not defined where D mixes samples; the layer's class is named."""
    refused(dcgan, script(d=NormD), [name], tmp_path, f"{name}.*BatchNorm1d")


def hinge(s: Script, hand: Hand) -> None:
    for real in s.batches:
        s.optimizer_d.zero_grad()
        fake = s.g(torch.randn(len(real), 2))
        (functional.relu(1 - s.d(real)).mean() + functional.relu(1 + s.d(fake.detach())).mean()).backward()
        s.optimizer_d.step()
        s.optimizer_g.zero_grad()
        (-s.d(fake).mean()).backward()
        s.optimizer_g.step()


def least_squares(s: Script, hand: Hand) -> None:
    for real in s.batches:
        s.optimizer_d.zero_grad()
        fake = s.g(torch.randn(len(real), 2))
        ((s.d(real) - 1).square().mean() + s.d(fake.detach()).square().mean()).backward()
        s.optimizer_d.step()


@pytest.mark.parametrize(
    ("loop", "sigmoid"), [(hinge, False), (n_critic, False), (least_squares, False), (least_squares, True)]
)
def test_label_smoothing_of_another_loss(loop: Callable[..., None], sigmoid: bool, tmp_path: Path) -> None:
    """Hinge, Wasserstein and least-squares losses are not cross-entropy, also where D's first outputs are alike."""
    refused(loop, script(d=lambda: D(sigmoid=sigmoid)), ["label_smoothing"], tmp_path, "binary cross-entropy")


def detour(s: Script, hand: Hand) -> None:
    """Both batches pass through an augmentation outside autograd: where the rows came from is gone."""

    def augment(x: Tensor) -> Tensor:
        return torch.tensor((x.detach() * 0.9 + 0.01).tolist())

    for real in s.batches:
        s.optimizer_d.zero_grad()
        fake = s.g(torch.randn(len(real), 2))
        loss = functional.softplus(-s.d(augment(real))).mean() + functional.softplus(s.d(augment(fake))).mean()
        loss.backward()
        s.optimizer_d.step()
        s.optimizer_g.zero_grad()
        functional.softplus(-s.d(fake)).mean().backward()
        s.optimizer_g.step()


@pytest.mark.parametrize("name", ["r1", "rpgan_r1_r2", "wgan_gp", "label_smoothing"])
def test_unknown_labels(name: str, tmp_path: Path) -> None:
    """Which call saw the real samples is not guessed."""
    refused(detour, script(), [name], tmp_path, f"{name} needs to know.*unknown")


def test_techniques_without_labels_do_not_ask(tmp_path: Path) -> None:
    """On the same loop what treats real and fake alike trains."""
    watched(detour, script(data=lambda: ring(steps=2)), ["pacgan", "spectral_norm", "instance_noise"], tmp_path)


def test_a_d_that_is_called_in_parts(tmp_path: Path) -> None:
    """D.body(x), then D.head(h): there is no one call that D's input and output could be taken from."""

    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Linear(2, 4)), nn.Sequential(nn.Linear(4, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x))

    def loop(s: Script, hand: Hand) -> None:
        s.d.head(s.d.body(s.batches[0]))

    refused(loop, script(d=Parts), ["pacgan"], tmp_path, "called as a whole.*Sequential")


def test_packs_with_the_scripts_own_penalty(tmp_path: Path) -> None:
    """A penalty at each sample by itself does not fit a D that judges packs."""

    def loop(s: Script, hand: Hand) -> None:
        real, fake = s.batches[0].requires_grad_(), s.g(torch.randn(16, 2)).detach()
        output = s.d(real)
        (slope,) = torch.autograd.grad(output.sum(), real, create_graph=True)
        (s.d(fake).mean() - output.mean() + slope.square().sum(1).mean()).backward()
        s.optimizer_d.step()

    refused(loop, script(), ["pacgan"], tmp_path, "own gradient penalty")


@pytest.mark.parametrize("name", ["pacgan", "minibatch_discrimination"])
def test_a_layer_that_the_script_normalises(name: str, tmp_path: Path) -> None:
    """The script's spectral norm of a layer would miss what is set beside it."""

    def normed() -> D:
        d = D(sigmoid=True)
        for layer in (d.first, d.middle, d.last):
            parametrizations.spectral_norm(layer)
        return d

    refused(dcgan, script(d=normed), [name], tmp_path, f"{name}.*normalises that layer's weight")
    refused(dcgan, script(d=normed), ["spectral_norm"], tmp_path / "again", "not normalised already")


class Projection(D):
    """Labels enter at the end, beside D's features."""

    def __init__(self) -> None:
        super().__init__()
        self.label = nn.Embedding(3, self.last.in_features)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.features(x)
        return self.last(h) + (self.label(y) * h).sum(1, keepdim=True)


def test_labels_that_enter_after_the_first_layer_do_not_fit_packs(tmp_path: Path) -> None:
    """Half as many rows as labels: found in a trial, and not by an error in the middle of D's forward."""

    def loop(s: Script, hand: Hand) -> None:
        s.d(s.batches[0], torch.arange(16) % 3)

    refused(loop, script(d=Projection), ["pacgan"], tmp_path, "labels")


def test_a_d_without_layers_has_no_ends_but_has_a_slope(tmp_path: Path) -> None:
    """A functional D cannot be widened, and r1 does not ask for its layers."""

    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(2, 1))

        def forward(self, x: Tensor) -> Tensor:
            return (x @ self.w).tanh()

    refused(g_first, script(d=Functional), ["pacgan"], tmp_path, "no layer with a weight matrix")
    watched(g_first, script(d=Functional, data=lambda: ring(steps=2)), ["r1"], tmp_path / "fine")


def test_roles_the_wrong_way_round_are_no_reason(tmp_path: Path) -> None:
    """The refusal ends the watching: torch is left as it was, and the loop can be run again without gandiag."""
    s = script(d=net_for("dcgan"))
    with pytest.raises(TechniqueRefused):
        gandiag.watch(s.g, s.d, run_dir=tmp_path / "run", techniques=["r1", "wgan_gp"])
    before = torch.autograd.grad
    watched(dcgan, s, [], tmp_path)
    assert torch.autograd.grad is before


def test_a_norm_without_batches_makes_way_for_a_penalty(tmp_path: Path) -> None:
    """R1 is refused on a D with batch norm, allowed where that behaves as layer norm, refused where one is added."""
    watched(dcgan, script(d=NormD, data=lambda: ring(steps=2)), ["r1", "layer_norm"], tmp_path / "fine")
    refused(dcgan, script(d=net_for("dcgan")), ["r1", "batch_norm:role=d"], tmp_path, "r1 and batch_norm")
    watched(dcgan, script(d=net_for("dcgan"), data=lambda: ring(steps=2)), ["r1", "batch_norm"], tmp_path / "g")


def test_one_optimizer_over_both_nets(tmp_path: Path) -> None:
    """What does the step of one net is refused where both are stepped at once; what adds a gradient is not."""

    def loop(s: Script, hand: Hand) -> None:
        for real in s.batches:
            s.optimizer_g.zero_grad()
            fake = s.g(torch.randn(len(real), 2))
            loss = functional.softplus(-s.d(real)).mean() + functional.softplus(s.d(fake.detach())).mean()
            (loss + functional.softplus(-s.d(fake)).mean()).backward()
            s.optimizer_g.step()

    def joint() -> Script:
        s = script(data=lambda: ring(steps=2))
        s.optimizer_g = s.optimizer_d = torch.optim.Adam([*s.g.parameters(), *s.d.parameters()], lr=1e-3)
        return s

    refused(loop, joint(), ["sgd"], tmp_path, "sgd acts on the optimizer of one net")
    watched(loop, joint(), ["l2"], tmp_path / "fine")
