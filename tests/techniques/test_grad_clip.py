"""Gradient clipping by the total norm, for both nets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, Hand, assert_same, net_for, script, train, watched
from torch import nn

from gandiag.techniques.grad_clip import GradClip


def test_a_gradient_of_five_becomes_one_of_one() -> None:
    """(3, 4) has norm 5; clipped to 1 it is (0.6, 0.8), and (0.3, 0.4) stays as it is."""
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    GradClip(max_norm=1.0).clip([parameter])
    torch.testing.assert_close(parameter.grad, torch.tensor([0.6, 0.8]), rtol=1e-5, atol=0)
    parameter.grad = torch.tensor([0.3, 0.4])
    GradClip(max_norm=1.0).clip([parameter])
    assert torch.equal(parameter.grad, torch.tensor([0.3, 0.4]))


class ByHand(Hand):
    """One line before each step."""

    def before_step(self, net: nn.Module, optimizer: object) -> None:
        nn.utils.clip_grad_norm_(net.parameters(), 0.05)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit, and the clipping does something."""
    ours, theirs, plain = (script(d=net_for(style), optimizer=optimizer) for _ in range(3))
    watched(STYLES[style], ours, ["grad_clip:max_norm=0.05"], tmp_path)
    train(STYLES[style], theirs, ByHand())
    train(STYLES[style], plain)
    assert_same(ours.tensors(), theirs.tensors())
    assert not torch.equal(ours.d.first.weight, plain.d.first.weight)
