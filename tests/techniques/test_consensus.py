"""Consensus optimisation: both players also go down the squared length of the game's gradient."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, Hand, Script, assert_same, net_for, script, train, watched
from torch import Tensor
from torch.nn import functional

from gandiag.errors import UsageError
from gandiag.techniques import parse


class ByHand(Hand):
    """The length at each player's own step, from G's first step on: before it, its loss has not been seen."""

    def __init__(self, style: str) -> None:
        self.style, self.z, self.real, self.seen, self.judged = style, torch.empty(0), None, False, False

    def latent(self, s: Script, z: Tensor) -> Tensor:
        self.z = z
        return z

    def length(self, s: Script, real: Tensor) -> Tensor:
        d_real, d_fake = s.d.logits(real), s.d.logits(s.g(self.z))
        if self.style == "n_critic":
            loss_d, loss_g = d_fake.mean() - d_real.mean(), -d_fake.mean()
        else:
            half = 0.5 if self.style == "g_first" else 1.0
            loss_d = half * (functional.softplus(-d_real).mean() + functional.softplus(d_fake).mean())
            loss_g = functional.softplus(-d_fake).mean()
        of_d = torch.autograd.grad(loss_d, list(s.d.parameters()), create_graph=True)
        of_g = torch.autograd.grad(loss_g, list(s.g.parameters()), create_graph=True)
        return 0.05 * sum(slope.square().sum() for slope in (*of_d, *of_g)) / 2

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor | None:
        self.real, self.judged = real, True
        return self.length(s, real) if self.seen else None

    def g_term(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        if not self.judged:
            return None
        self.seen = True
        return self.length(s, self.real)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: the script's loss is read off its gradients, which is exact up to rounding."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    run = watched(STYLES[style], ours, ["consensus:gamma=0.05"], tmp_path)
    train(STYLES[style], theirs, ByHand(style))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)
    assert run.interventions.counts["consensus"] >= 70


def test_strengths_that_mean_nothing_are_refused() -> None:
    """Zero."""
    with pytest.raises(UsageError, match="gamma must be above zero"):
        parse("consensus:gamma=0")
