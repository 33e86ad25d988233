"""Latent optimisation: G is given latents that D already finds a little more real."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, Hand, Script, assert_same, net_for, own_stream, script, train, watched
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.latent_optimisation import natural_step


def test_a_natural_step() -> None:
    """The slope (3, 4): 2 * (3, 4) / (5 + 25)."""
    step = natural_step(torch.tensor([[3.0, 4.0]]), alpha=2.0, beta=5.0)
    torch.testing.assert_close(step, torch.tensor([[0.2, 4 / 15]]))


class ByHand(Hand):
    """The step before each call of G, from D's first step on: before it, no real batch has been seen."""

    def __init__(self) -> None:
        self.stream, self.begun = own_stream(), False

    def after_d_step(self, s: Script) -> None:
        self.begun = True

    def latent(self, s: Script, z: Tensor) -> Tensor:
        if not self.begun:
            return z
        z_seen = z.detach().requires_grad_()
        (slope,) = torch.autograd.grad(s.d.logits(s.g(z_seen)).sum(), z_seen)
        moved = torch.stack([row + 0.5 * g / (0.2 + g @ g) for row, g in zip(z, slope, strict=True)]).clamp(-1, 1)
        chosen = torch.rand(len(z), generator=self.stream) < 0.7
        return torch.where(chosen[:, None], moved, z)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: a sum of squares is not rounded as a product of vectors."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    run = watched(STYLES[style], ours, ["latent_optimisation:alpha=0.5,beta=0.2,rate=0.7,bound=1"], tmp_path)
    train(STYLES[style], theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)
    assert run.interventions.counts["latent_optimisation"] >= 50


def test_rates_that_are_none_are_refused() -> None:
    """More latents than there are."""
    with pytest.raises(UsageError, match="rate must lie in"):
        parse("latent_optimisation:rate=1.5")
