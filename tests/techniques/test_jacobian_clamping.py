"""Jacobian clamping: how much G stretches its latents stays between two bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, Hand, Script, assert_same, net_for, own_stream, script, train, watched
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.jacobian_clamping import clamping_loss, stretch


def test_the_stretch_of_a_linear_generator() -> None:
    """G(z) = 3 z stretches every step by 3, whatever its length."""
    z, near = torch.randn(2, 5, 4).unbind(0)
    torch.testing.assert_close(stretch(z, near, 3 * z, 3 * near), torch.full((5,), 3.0))


def test_only_what_is_out_of_bounds_is_paid_for() -> None:
    """0, 1, 5 and 23 between 1 and 20: (1 + 0 + 0 + 9) / 4."""
    assert clamping_loss(torch.tensor([0.0, 1.0, 5.0, 23.0]), low=1.0, high=20.0) == 2.5


class ByHand(Hand):
    """Both forwards of G written out."""

    def __init__(self) -> None:
        self.stream, self.z = own_stream(), torch.empty(0)

    def latent(self, s: Script, z: Tensor) -> Tensor:
        self.z = z
        return z

    def g_term(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor:
        z = self.z
        delta = torch.randn(z.shape, generator=self.stream)
        z_near = z + 0.5 * delta / delta.norm(dim=1, keepdim=True)
        q = (s.g(z) - s.g(z_near)).norm(dim=1) / (z - z_near).norm(dim=1)
        over, under = torch.relu(q - 0.5), torch.relu(0.3 - q)
        return 2 * (over**2 + under**2).mean()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: the two gradients of G's weights are added after, and not inside, one backward pass."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["jacobian_clamping:low=0.3,high=0.5,step=0.5,weight=2"], tmp_path)
    train(STYLES[style], theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_bounds_that_hold_nothing_are_refused() -> None:
    """A lower bound above the upper one, or below zero."""
    for text in ("low=3,high=2", "low=-1"):
        with pytest.raises(UsageError, match="low must be at least 0 and below high"):
            parse(f"jacobian_clamping:{text}")
