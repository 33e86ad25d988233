"""Batch normalisation after hidden layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    WIDTH,
    ConvD,
    ConvG,
    D,
    G,
    Hand,
    Script,
    assert_same,
    dcgan,
    net_for,
    pictures,
    script,
    train,
    watched,
)
from torch import Tensor, nn
from torch.nn import functional

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.batch_norm import Statistics


def test_a_channel_has_mean_0_and_variance_1_and_is_remembered() -> None:
    """(1, 3) has the mean 2, the variance 1 and, unbiased, 2: a tenth of it is in the statistics."""
    x = torch.tensor([[1.0], [3.0]])
    statistics = Statistics.like(x)
    wanted = torch.tensor([[-1.0], [1.0]]) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(statistics.normalise(x, training=True), wanted)
    torch.testing.assert_close(statistics.mean, torch.tensor([0.2]))
    torch.testing.assert_close(statistics.variance, torch.tensor([0.9 + 0.2]))
    wanted = (x - 0.2) / (1.1 + 1e-5) ** 0.5
    torch.testing.assert_close(statistics.normalise(x, training=False), wanted)


class NormG(G):
    """G as a person would change it: the layer's bias is the shift."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH, affine=False)

    def forward(self, z: Tensor) -> Tensor:
        first, relu, last = self.layers
        return last(relu(self.norm(first(z)) + first.bias))


class NormD(D):
    def __init__(self, *, sigmoid: bool = False) -> None:
        super().__init__(sigmoid=sigmoid)
        self.norm = nn.BatchNorm1d(WIDTH, affine=False)

    def features(self, x: Tensor) -> Tensor:
        h = functional.leaky_relu(self.first(x), 0.2)
        return functional.leaky_relu(self.norm(self.middle(h)) + self.middle.bias, 0.2)


class NormConvG(ConvG):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(6, affine=False)

    def forward(self, z: Tensor) -> Tensor:
        h = self.norm(self.first(z[:, :, None, None])) + self.first.bias[:, None, None]
        return self.last(h.relu()).tanh()


def without_norm(s: Script) -> dict[str, Tensor]:
    return {name: value for name, value in s.tensors().items() if ".norm." not in name}


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit torch's own layer, without a scale, before the activation."""
    ours = script(d=net_for(style), optimizer=optimizer)
    theirs = script(d=net_for(style), g=NormG, optimizer=optimizer)
    watched(STYLES[style], ours, ["batch_norm"], tmp_path)
    train(STYLES[style], theirs)
    assert_same(ours.tensors(), without_norm(theirs))


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_in_g_and_in_d_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit; D's first and last layer are left alone."""
    sigmoid = style == "dcgan"
    ours = script(d=lambda: D(sigmoid=sigmoid), optimizer=optimizer)
    theirs = script(g=NormG, d=lambda: NormD(sigmoid=sigmoid), optimizer=optimizer)
    watched(STYLES[style], ours, ["batch_norm:role=both"], tmp_path)
    train(STYLES[style], theirs)
    assert_same(ours.tensors(), without_norm(theirs))


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """Statistics over samples and places."""
    ours = script(g=ConvG, d=ConvD, data=lambda: pictures(20))
    theirs = script(g=NormConvG, d=ConvD, data=lambda: pictures(20))
    watched(dcgan, ours, ["batch_norm"], tmp_path)
    train(dcgan, theirs)
    assert_same(ours.tensors(), without_norm(theirs))


def test_evaluation_uses_the_running_statistics(tmp_path: Path) -> None:
    """Samples of G in eval mode, after training, are bit for bit those of the hand-written G."""
    samples: list[Tensor] = []

    def loop(s: Script, hand: Hand) -> None:
        dcgan(s, hand)
        s.g.eval()
        samples.append(s.g(torch.linspace(-1, 1, 10).view(5, 2)))

    ours, theirs = script(d=net_for("dcgan")), script(d=net_for("dcgan"), g=NormG)
    watched(loop, ours, ["batch_norm"], tmp_path)
    train(loop, theirs)
    assert torch.equal(samples[0], samples[1])


def test_features_on_the_last_axis(tmp_path: Path) -> None:
    """A linear layer on sequences (n, l, f) is normalised over samples and places, for each feature."""
    torch.manual_seed(5)

    class Sequences(G):
        def forward(self, z: Tensor) -> Tensor:
            return self.layers(z[:, None].expand(-1, 3, -1) * torch.arange(1.0, 4.0)[:, None]).sum(1)

    def loop(s: Script, hand: Hand) -> None:
        z = torch.randn(4, 2)
        first, relu, last = s.g.layers
        h = nn.functional.linear(
            z[:, None].expand(-1, 3, -1) * torch.arange(1.0, 4.0)[:, None], first.weight, first.bias
        )
        h = (h - h.mean((0, 1))) / (h.var((0, 1), unbiased=False) + 1e-5).sqrt() + first.bias
        wanted = nn.functional.linear(relu(h), last.weight, last.bias).sum(1)
        torch.testing.assert_close(s.g(z), wanted)

    watched(loop, script(g=Sequences), ["batch_norm"], tmp_path)


def test_a_net_that_has_batch_norm_is_refused(tmp_path: Path) -> None:
    """Twice is once too often: refused before training, with what to do."""
    with pytest.raises(TechniqueRefused, match=r"NormG holds BatchNorm layers already.*leave it out"):
        watched(dcgan, script(d=net_for("dcgan"), g=NormG), ["batch_norm"], tmp_path)


def test_a_d_of_two_layers_is_refused(tmp_path: Path) -> None:
    """Its first and its last layer are left alone, and there is no other."""
    with pytest.raises(TechniqueRefused, match=r"ConvD has no other.*role=g"):
        watched(dcgan, script(g=ConvG, d=ConvD, data=lambda: pictures(2)), ["batch_norm:role=d"], tmp_path)


def test_bad_parameters_are_refused() -> None:
    """A role that is none."""
    with pytest.raises(UsageError, match="role must be g, d or both, got 'q'"):
        parse("batch_norm:role=q")
