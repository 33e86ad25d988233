"""Layer noise: Gaussian noise on G's hidden activations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    ConvD,
    ConvG,
    G,
    Hand,
    Script,
    assert_same,
    dcgan,
    net_for,
    own_stream,
    pictures,
    script,
    train,
    watched,
)
from torch import Tensor, nn

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse


class NoisyG(G):
    """G with two lines of a person."""

    stream: torch.Generator

    def forward(self, z: Tensor) -> Tensor:
        first, relu, last = self.layers
        h = relu(first(z))
        return last(h + 0.2 * torch.randn(h.shape, generator=self.stream))


class NoisyConvG(ConvG):
    stream: torch.Generator

    def forward(self, z: Tensor) -> Tensor:
        h = self.first(z[:, :, None, None]).relu()
        return self.last(h + 0.2 * torch.randn(h.shape, generator=self.stream)).tanh()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit: the same numbers are added at the same place."""
    ours = script(d=net_for(style), optimizer=optimizer)
    theirs = script(d=net_for(style), g=NoisyG, optimizer=optimizer)
    theirs.g.stream = own_stream()
    watched(STYLES[style], ours, ["layer_noise:std=0.2"], tmp_path)
    train(STYLES[style], theirs)
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """Each element of a feature map has its own number."""
    ours = script(g=ConvG, d=ConvD, data=lambda: pictures(20))
    theirs = script(g=NoisyConvG, d=ConvD, data=lambda: pictures(20))
    theirs.g.stream = own_stream()
    watched(dcgan, ours, ["layer_noise:std=0.2"], tmp_path)
    train(dcgan, theirs)
    assert_same(ours.tensors(), theirs.tensors())


def test_evaluation_has_no_noise(tmp_path: Path) -> None:
    """G in eval mode is the script's own; D never has any."""

    def loop(s: Script, hand: Hand) -> None:
        z = torch.randn(8, 2)
        s.g.eval()
        assert torch.equal(s.g(z), s.g.layers(z))
        s.g.train()
        first, second = s.g(z), s.g(z)
        assert not torch.equal(first, second)
        assert torch.equal(s.d(z), s.d.logits(z))

    watched(loop, script(), ["layer_noise"], tmp_path)


def test_bad_parameters_are_refused() -> None:
    """A strength of 0 is none."""
    with pytest.raises(UsageError, match="std"):
        parse("layer_noise:std=0")


def test_a_g_without_hidden_layers_is_refused(tmp_path: Path) -> None:
    """One layer has no inside: refused before training."""

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(2, 2))

        def forward(self, z: Tensor) -> Tensor:
            return self.layers(z)

    with pytest.raises(TechniqueRefused, match=r"Flat.*write it into the script"):
        watched(dcgan, script(g=Flat, d=net_for("dcgan")), ["layer_noise"], tmp_path)
