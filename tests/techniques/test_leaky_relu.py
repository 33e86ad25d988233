"""Leaky ReLU in place of ReLU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    WIDTH,
    ConvG,
    D,
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


class ReluD(nn.Module):
    """D whose activations are modules, one used twice, one in place."""

    def __init__(self, *, sigmoid: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(2, WIDTH)
        self.middle = nn.Linear(WIDTH, WIDTH)
        self.inner = nn.Linear(WIDTH, WIDTH)
        self.last = nn.Linear(WIDTH, 1)
        self.activation, self.other = nn.ReLU(), nn.ReLU(inplace=True)
        self.sigmoid = sigmoid

    def forward(self, x: Tensor) -> Tensor:
        h = self.activation(self.middle(self.activation(self.first(x))))
        logits = self.last(self.other(self.inner(h)))
        return logits.sigmoid() if self.sigmoid else logits


class LeakyD(ReluD):
    """The same as a person would change it."""

    def __init__(self, *, sigmoid: bool = False) -> None:
        super().__init__(sigmoid=sigmoid)
        self.activation, self.other = nn.LeakyReLU(0.3), nn.LeakyReLU(0.3, inplace=True)


class ReluConvD(nn.Module):
    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 6, 4, 2, 1), activation, nn.Conv2d(6, 1, 4), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).sigmoid()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit: one function in place of another."""
    sigmoid = style == "dcgan"
    ours = script(d=lambda: ReluD(sigmoid=sigmoid), optimizer=optimizer)
    theirs = script(d=lambda: LeakyD(sigmoid=sigmoid), optimizer=optimizer)
    watched(STYLES[style], ours, ["leaky_relu:slope=0.3"], tmp_path)
    train(STYLES[style], theirs)
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A convolutional D, with the default slope."""
    ours = script(g=ConvG, d=lambda: ReluConvD(nn.ReLU(inplace=True)), data=lambda: pictures(20))
    theirs = script(g=ConvG, d=lambda: ReluConvD(nn.LeakyReLU(0.2)), data=lambda: pictures(20))
    watched(dcgan, ours, ["leaky_relu"], tmp_path)
    train(dcgan, theirs)
    assert_same(ours.tensors(), theirs.tensors())


def test_in_g_as_well(tmp_path: Path) -> None:
    """role=g changes G's, and a D that holds none is then no obstacle."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    theirs.g.layers[1] = nn.LeakyReLU(0.2)
    watched(dcgan, ours, ["leaky_relu:role=g"], tmp_path)
    train(dcgan, theirs)
    assert_same(ours.tensors(), theirs.tensors())


def test_it_acts_in_evaluation_too(tmp_path: Path) -> None:
    """An activation is part of the net: eval mode has it as well."""
    d, x = LeakyD(), torch.randn(8, 2)

    def loop(s: Script, hand: Hand) -> None:
        d.load_state_dict(s.d.state_dict())
        s.d.eval()
        assert torch.equal(s.d(x), d(x))

    watched(loop, script(d=ReluD), ["leaky_relu:slope=0.3"], tmp_path)


def test_a_d_without_relu_modules_is_refused(tmp_path: Path) -> None:
    """Plain functions cannot be seen: refused before training, with what to do."""

    class Functional(D):
        def features(self, x: Tensor) -> Tensor:
            return functional.relu(self.middle(functional.relu(self.first(x))))

    with pytest.raises(TechniqueRefused, match=r"Functional holds none.*write leaky_relu into the script"):
        watched(dcgan, script(d=lambda: Functional(sigmoid=True)), ["leaky_relu"], tmp_path)


@pytest.mark.parametrize("params", ["slope=0", "slope=1", "role=x"])
def test_bad_parameters_are_refused(params: str) -> None:
    """The message names the parameter."""
    with pytest.raises(UsageError, match=params.split("=")[0]):
        parse(f"leaky_relu:{params}")
