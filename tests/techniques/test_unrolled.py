"""Unrolled GAN: G learns from the D that D would be some steps from now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, Hand, Script, assert_same, net_for, script, train, watched
from torch import Tensor
from torch.nn import functional

from gandiag.errors import UsageError
from gandiag.techniques import parse


class ByHand(Hand):
    """The steps of an MLP written out, layer by layer."""

    def __init__(self, style: str, k: int, lr: float) -> None:
        self.style, self.k, self.lr = style, k, lr

    def d_losses(self, real: Tensor, fake: Tensor) -> Tensor:
        if self.style == "n_critic":
            return fake.mean() - real.mean()
        loss = functional.softplus(-real).mean() + functional.softplus(fake).mean()
        return loss / 2 if self.style == "g_first" else loss

    def g_loss(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        if real is None:
            return None
        weights = [p.detach().requires_grad_() for p in s.d.parameters()]
        for _ in range(self.k):
            loss = self.d_losses(judge(weights, real), judge(weights, fake))
            slopes = torch.autograd.grad(loss, weights, create_graph=True)
            weights = [w - self.lr * slope for w, slope in zip(weights, slopes, strict=True)]
        d_fake = judge(weights, fake)
        return -d_fake.mean() if self.style == "n_critic" else functional.softplus(-d_fake).mean()


def judge(weights: list[Tensor], x: Tensor) -> Tensor:
    """The logits of tests' D with other weights: first, middle, last."""
    for w, b in ((weights[0], weights[1]), (weights[2], weights[3])):
        x = functional.leaky_relu(x @ w.T + b, 0.2)
    return x @ weights[4].T + weights[5]


@pytest.mark.parametrize(("style", "optimizer"), CASES)
@pytest.mark.parametrize("k", [1, 3])
def test_equals_the_hand_written_loop(style: str, optimizer: Callable[..., object], k: int, tmp_path: Path) -> None:
    """Within 1e-6: the script's loss is read off its gradients, which is exact up to rounding."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    run = watched(STYLES[style], ours, [f"unrolled:k={k},lr=0.3"], tmp_path)
    train(STYLES[style], theirs, ByHand(style, k, 0.3))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)
    assert run.interventions.counts["unrolled"] >= 25


def test_steps_that_lead_nowhere_are_refused() -> None:
    """None, or of no length."""
    for text in ("k=0", "lr=0"):
        with pytest.raises(UsageError, match="must be above zero"):
            parse(f"unrolled:{text}")
