"""Dropout after hidden layers."""

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
    G,
    Hand,
    Script,
    assert_same,
    dcgan,
    own_stream,
    pictures,
    ring,
    script,
    train,
    watched,
)
from torch import Tensor, nn
from torch.nn import functional

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques._layers import Wiring
from gandiag.techniques.dropout import dropped


def test_a_part_is_zero_and_the_rest_is_larger() -> None:
    """Of 100,000 ones three tenths become 0 (to a hundredth), the others exactly 1 / 0.7."""
    x = dropped(torch.ones(100_000), p=0.3, generator=own_stream())
    assert set(x.unique().tolist()) == {0.0, 1 / 0.7}
    assert abs(float((x == 0).double().mean()) - 0.3) < 0.01


def test_what_was_dropped_gets_no_gradient() -> None:
    """The gradient is 1 / (1 - p) where the activation went through, and 0 where it did not."""
    x = torch.ones(50, requires_grad=True)
    y = dropped(x, p=0.5, generator=own_stream())
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, y.detach())


@pytest.mark.parametrize("params", ["d=1", "d=-0.1", "g=1.5", "d=0,g=0", "d=nan"])
def test_bad_parameters_are_refused(params: str) -> None:
    """The message names the parameter."""
    with pytest.raises(UsageError, match=params.split("=")[0]):
        parse(f"dropout:{params}")


class Dropping:
    """A person's dropout, from a stream that D and G share, as they do under gandiag."""

    stream: torch.Generator
    p: float

    def drop(self, h: Tensor) -> Tensor:
        if not self.training or not self.p:
            return h
        keep = torch.rand(h.shape, generator=self.stream) >= self.p
        return h * keep / (1 - self.p)


class DropD(Dropping, D):
    def features(self, x: Tensor) -> Tensor:
        h = self.drop(functional.leaky_relu(self.first(x), 0.2))
        return self.drop(functional.leaky_relu(self.middle(h), 0.2))


class DropG(Dropping, G):
    def forward(self, z: Tensor) -> Tensor:
        first, relu, last = self.layers
        return last(self.drop(relu(first(z))))


class DropConvD(Dropping, ConvD):
    def features(self, x: Tensor) -> Tensor:
        return self.drop(super().features(x))


class DropConvG(Dropping, ConvG):
    def forward(self, z: Tensor) -> Tensor:
        return self.last(self.drop(self.first(z[:, :, None, None]).relu())).tanh()


def by_hand(s: Script, *, d: float, g: float) -> Script:
    s.d.stream = s.g.stream = own_stream()
    s.d.p, s.g.p = d, g
    return s


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit: the same numbers of the same stream decide, at the same places."""
    sigmoid = style == "dcgan"
    ours = script(d=lambda: D(sigmoid=sigmoid), optimizer=optimizer)
    theirs = script(d=lambda: DropD(sigmoid=sigmoid), g=DropG, optimizer=optimizer)
    watched(STYLES[style], ours, ["dropout:d=0.3,g=0.1"], tmp_path)
    train(STYLES[style], by_hand(theirs, d=0.3, g=0.1))
    assert_same(ours.tensors(), theirs.tensors())


@pytest.mark.parametrize(("d", "g"), [(0.5, 0.0), (0.0, 0.5)])
def test_one_net_alone_equals_the_hand_written_loop(d: float, g: float, tmp_path: Path) -> None:
    """A probability of 0 draws nothing."""
    ours, theirs = script(d=lambda: D(sigmoid=True)), script(d=lambda: DropD(sigmoid=True), g=DropG)
    watched(dcgan, ours, [f"dropout:d={d},g={g}"], tmp_path)
    train(dcgan, by_hand(theirs, d=d, g=g))
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """Elements of feature maps are dropped one by one, before the last convolution."""
    ours = script(g=ConvG, d=ConvD, data=lambda: pictures(20))
    theirs = script(g=DropConvG, d=DropConvD, data=lambda: pictures(20))
    watched(dcgan, ours, ["dropout:d=0.3,g=0.2"], tmp_path)
    train(dcgan, by_hand(theirs, d=0.3, g=0.2))
    assert_same(ours.tensors(), theirs.tensors())


def test_evaluation_drops_nothing(tmp_path: Path) -> None:
    """D in eval mode is the script's own; in train mode it is not, with or without gradients, as nn.Dropout."""

    def loop(s: Script, hand: Hand) -> None:
        for real in s.batches[:3]:
            s.d.eval()
            assert torch.equal(s.d(real), s.d.logits(real))
            s.d.train()
            assert not torch.equal(s.d(real), s.d.logits(real))
            with torch.no_grad():
                assert not torch.equal(s.d(real), s.d.logits(real))

    watched(loop, script(), ["dropout"], tmp_path)


class Backwards(nn.Module):
    """Layers are registered against the order in which they run, some work in place, one is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 1)
        self.unused = nn.Linear(6, 6)
        self.inner = nn.Linear(6, 6)
        self.label = nn.Linear(3, 4)
        self.first = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        label = self.label(x.new_ones(len(x), 3))
        h = functional.relu_(self.first(torch.cat([x, x, x], dim=1)))
        h = h + functional.leaky_relu_(self.inner(h))
        return self.last(h) + label.mean(dim=1, keepdim=True)


def test_hidden_layers_are_found_by_what_runs_and_not_by_what_is_registered() -> None:
    """Inner and last are fed, first and inner feed; a branch of its own is neither."""
    net = Backwards()
    wiring = Wiring("dropout", net)
    changes = wiring.layers(lambda layer, x, forward: forward(x))

    def run(x: Tensor) -> Tensor:
        for layer, change in changes.items():
            plain = layer.forward
            layer.forward = lambda x, change=change, plain=plain: change(x, plain)
        return net(x)

    with torch.inference_mode():
        assert wiring.read((torch.randn(5, 2),), {}, run)
        assert not wiring.read((torch.randn(5, 2),), {}, run)
    assert wiring.fed == {net.inner, net.last}
    assert wiring.feeding == {net.first, net.inner}


def test_a_net_of_one_layer_is_refused(tmp_path: Path) -> None:
    """There is nothing between one layer: refused before training, with what to do."""

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.only = nn.Linear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.only(x).sigmoid()

    with pytest.raises(TechniqueRefused, match=r"Flat.*write it into the script"):
        watched(dcgan, script(d=Flat), ["dropout"], tmp_path)


def test_batches_of_any_size_train_on(tmp_path: Path) -> None:
    """Sixteen, seven and one row."""
    ours = script(
        d=lambda: D(sigmoid=True), data=lambda: [x[:n] for x, n in zip(ring(steps=3), (16, 7, 1), strict=True)]
    )
    watched(dcgan, ours, ["dropout:g=0.1"], tmp_path)
    assert all(value.isfinite().all() for value in ours.tensors().values())
