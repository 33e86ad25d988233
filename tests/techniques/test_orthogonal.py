"""Orthogonal regularisation."""

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
    Hand,
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
from torch.optim import Optimizer

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.orthogonal import overlap


def test_rows_at_right_angles_cost_nothing_whatever_their_length() -> None:
    """(3, 4) and (-8, 6) are at right angles; with (0, 1) the products are 4 and 6, each counted twice."""
    assert overlap(torch.tensor([[3.0, 4.0], [-8.0, 6.0]])) == 0
    assert overlap(torch.tensor([[3.0, 4.0], [-8.0, 6.0], [0.0, 1.0]])) == 2 * (16 + 36)


class ByHand(Hand):
    """Every pair of a layer's filters, one by one."""

    def __init__(self, *, d: float, g: float) -> None:
        self.d, self.g = d, g

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor | None:
        return self.d * pairs(s.d) if self.d else None

    def g_term(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        return self.g * pairs(s.g) if self.g else None


def pairs(net: nn.Module) -> Tensor:
    total = torch.zeros(())
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
            filters = layer.weight.unbind(outputs)
            for i, one in enumerate(filters):
                for other in filters[:i]:
                    total = total + 2 * (one * other).sum() ** 2
    return total


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: the twin sums pair by pair."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["orthogonal:d=0.01,g=0.02"], tmp_path)
    train(STYLES[style], theirs, ByHand(d=0.01, g=0.02))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A transposed convolution has its filters along its second axis."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    watched(dcgan, ours, ["orthogonal:d=0.05,g=0.05"], tmp_path)
    train(dcgan, theirs, ByHand(d=0.05, g=0.05))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


class TheAuthors(Hand):
    """The gradient as the authors' code adds it, strength * 2 * (W W^T without its diagonal) W, before G's step."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def before_step(self, net: nn.Module, optimizer: Optimizer) -> None:
        for p in net.parameters() if not isinstance(net, D) else ():
            if p.ndim > 1:
                w = p.detach().view(p.shape[0], -1)
                p.grad += self.strength * (2 * ((w @ w.t()) * (1 - torch.eye(len(w)))) @ w).view_as(p)


def test_equals_the_authors_code_at_half_their_strength(tmp_path: Path) -> None:
    """The gradient of Eq. 3 is 4 beta (W W^T without its diagonal) W, twice theirs: within 1e-6."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    watched(dcgan, ours, ["orthogonal:g=0.01"], tmp_path)
    train(dcgan, theirs, TheAuthors(0.02))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def normalised() -> nn.Module:
    net = D()
    for layer in (net.first, net.middle, net.last):
        parametrizations.spectral_norm(layer)
    return net


def test_a_net_without_weights_of_its_own_is_refused(tmp_path: Path) -> None:
    """All of D's weights are computed from others."""
    with pytest.raises(TechniqueRefused, match="set d=0"):
        watched(STYLES["g_first"], script(d=normalised, data=lambda: ring(steps=2)), ["orthogonal:d=0.01"], tmp_path)


@pytest.mark.parametrize("wrong", ["d=-1", "g=inf", "g=0"])
def test_strengths_that_mean_nothing_are_refused(wrong: str) -> None:
    """Negative, infinite, or none at all."""
    with pytest.raises(UsageError, match=wrong[0]):
        parse(f"orthogonal:{wrong}")
