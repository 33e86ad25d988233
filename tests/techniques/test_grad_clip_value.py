"""Gradient clipping by value, for both nets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, Hand, assert_same, net_for, script, train, watched
from torch import nn
from torch.optim import Optimizer

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.grad_clip_value import GradClipValue


def test_each_element_is_cut_by_itself() -> None:
    """(3, -4, 0.5) becomes (1, -1, 0.5)."""
    parameter = nn.Parameter(torch.zeros(3))
    parameter.grad = torch.tensor([3.0, -4.0, 0.5])
    GradClipValue(value=1.0).clip([parameter])
    assert torch.equal(parameter.grad, torch.tensor([1.0, -1.0, 0.5]))


class ByHand(Hand):
    """Minimum and maximum, before each step."""

    def before_step(self, net: nn.Module, optimizer: Optimizer) -> None:
        for p in net.parameters():
            p.grad = torch.minimum(torch.maximum(p.grad, torch.tensor(-0.01)), torch.tensor(0.01))


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit, and the clipping does something."""
    ours, theirs, plain = (script(d=net_for(style), optimizer=optimizer) for _ in range(3))
    watched(STYLES[style], ours, ["grad_clip_value:value=0.01"], tmp_path)
    train(STYLES[style], theirs, ByHand())
    train(STYLES[style], plain)
    assert_same(ours.tensors(), theirs.tensors())
    assert not torch.equal(ours.d.first.weight, plain.d.first.weight)


def test_a_bound_that_means_nothing_is_refused() -> None:
    """Zero would stop all learning."""
    with pytest.raises(UsageError, match="value must be above zero"):
        parse("grad_clip_value:value=0")
