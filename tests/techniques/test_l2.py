"""L2: a penalty on the weights."""

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
from torch.optim import SGD, Adam, Optimizer

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.l2 import half_squares


def test_two_weights_by_hand() -> None:
    """(9 + 16 + 4) / 2 = 14.5, and the gradient is the weight itself."""
    a, b = torch.tensor([[3.0, -4.0]], requires_grad=True), torch.tensor([[2.0]], requires_grad=True)
    loss = half_squares([a, b])
    loss.backward()
    assert loss == 14.5
    assert torch.equal(a.grad, a)


class ByHand(Hand):
    """One line in each loss; biases go free."""

    def __init__(self, *, d: float, g: float) -> None:
        self.d, self.g = d, g

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor | None:
        return self.d * size(s.d) if self.d else None

    def g_term(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        return self.g * size(s.g) if self.g else None


def size(net: nn.Module) -> Tensor:
    return sum((p**2).sum() / 2 for name, p in net.named_parameters() if not name.endswith("bias"))


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: in the twin the strength multiplies each layer's half sum."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["l2:d=0.02,g=0.01"], tmp_path)
    train(STYLES[style], theirs, ByHand(d=0.02, g=0.01))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """Convolutions count, their biases do not; here with G alone."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    run = watched(dcgan, ours, ["l2:d=0,g=0.02"], tmp_path)
    train(dcgan, theirs, ByHand(d=0.0, g=0.02))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)
    assert run.interventions.counts == {"l2": 20}


def decayed(net: nn.Module, like: Optimizer, *, weight_decay: float) -> Optimizer:
    """torch's own weight decay, on the weights alone."""
    groups = [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in net.parameters() if p.ndim == 1]},
    ]
    own = like.param_groups[0]
    return Adam(groups, lr=own["lr"], betas=own["betas"]) if "betas" in own else SGD(groups, lr=own["lr"], momentum=0.5)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_torchs_weight_decay(style: str, optimizer: object, tmp_path: Path) -> None:
    """The strength is what torch calls weight_decay, on all but biases: within 1e-6, as it is added in one rounding."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    theirs.optimizer_d = decayed(theirs.d, theirs.optimizer_d, weight_decay=0.02)
    watched(STYLES[style], ours, ["l2:d=0.02"], tmp_path)
    train(STYLES[style], theirs)
    assert_same(ours.d.state_dict(), theirs.d.state_dict(), within=1e-6)
    assert_same(ours.g.state_dict(), theirs.g.state_dict(), within=1e-6)


@pytest.mark.parametrize("wrong", ["d=-1", "g=inf", "d=0"])
def test_strengths_that_mean_nothing_are_refused(wrong: str) -> None:
    """Negative, infinite, or none at all."""
    with pytest.raises(UsageError, match=wrong[0]):
        parse(f"l2:{wrong}")
