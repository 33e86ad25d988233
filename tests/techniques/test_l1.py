"""L1: a penalty on the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    ConvD,
    ConvG,
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

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.l1 import absolutes


def test_two_weights_by_hand() -> None:
    """3 + 4 + 2 = 9, and the gradient is the sign."""
    a, b = torch.tensor([[3.0, -4.0]], requires_grad=True), torch.tensor([[2.0]], requires_grad=True)
    loss = absolutes([a, b])
    loss.backward()
    assert loss == 9
    assert torch.equal(a.grad, torch.tensor([[1.0, -1.0]]))


class ByHand(Hand):
    """One line in each loss; biases go free."""

    def __init__(self, *, d: float, g: float) -> None:
        self.d, self.g = d, g

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor | None:
        return self.d * size(s.d) if self.d else None

    def g_term(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        return self.g * size(s.g) if self.g else None


def size(net: nn.Module) -> Tensor:
    return sum(p.abs().sum() for name, p in net.named_parameters() if not name.endswith("bias"))


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit: a gradient of the strength and the sign is added to the same gradients."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["l1:d=0.02,g=0.01"], tmp_path)
    train(STYLES[style], theirs, ByHand(d=0.02, g=0.01))
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """Convolutions count, their biases do not; here with G alone."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    run = watched(dcgan, ours, ["l1:d=0,g=0.02"], tmp_path)
    train(dcgan, theirs, ByHand(d=0.0, g=0.02))
    assert_same(ours.tensors(), theirs.tensors())
    assert run.interventions.counts == {"l1": 20}


@pytest.mark.parametrize("wrong", ["d=-1", "g=inf", "d=0"])
def test_strengths_that_mean_nothing_are_refused(wrong: str) -> None:
    """Negative, infinite, or none at all."""
    with pytest.raises(UsageError, match=wrong[0]):
        parse(f"l1:{wrong}")
