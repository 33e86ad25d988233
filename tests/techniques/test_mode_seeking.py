"""Mode seeking: latents that lie apart shall give samples that lie apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    Hand,
    Script,
    assert_same,
    g_first,
    net_for,
    ring,
    script,
    train,
    watched,
)
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.mode_seeking import EPSILON, seeking_loss


def test_the_loss_of_two_pairs() -> None:
    """Latents 2 apart, samples 1 apart on average: 1 / (0.5 + 1e-5)."""
    z, other_z = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
    loss = seeking_loss(z, other_z, made=torch.tensor([[0.0], [0.0]]), other=torch.tensor([[0.5], [1.5]]))
    torch.testing.assert_close(loss, torch.tensor(1 / (0.5 + EPSILON)))


def test_a_collapsed_generator_pays_a_finite_price() -> None:
    """All samples alike: 1 / 1e-5, and a gradient that is finite."""
    made = torch.zeros(4, 2, requires_grad=True)
    loss = seeking_loss(torch.randn(4, 3), torch.randn(4, 3), made=made, other=torch.zeros(4, 2))
    loss.backward()
    torch.testing.assert_close(loss.detach(), torch.tensor(1 / EPSILON))
    assert made.grad is not None
    assert made.grad.isfinite().all()


class ByHand(Hand):
    """G once more on the same latents, its halves compared."""

    def __init__(self, weight: float) -> None:
        self.weight, self.z = weight, torch.empty(0)

    def latent(self, s: Script, z: Tensor) -> Tensor:
        self.z = z
        return z

    def g_term(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor:
        z1, z2 = self.z.chunk(2)
        x1, x2 = s.g(self.z).chunk(2)
        return self.weight / ((x1 - x2).abs().mean() / (z1 - z2).abs().mean() + 1e-5)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: the two gradients of G's weights are added after, and not inside, one backward pass."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    run = watched(STYLES[style], ours, ["mode_seeking:weight=0.01"], tmp_path)
    train(STYLES[style], theirs, ByHand(0.01))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)
    assert run.interventions.counts == {"mode_seeking": 25 if style == "n_critic" else 50}


def test_a_last_row_without_a_partner_is_left_out(tmp_path: Path) -> None:
    """Batches of 15: the first seven rows beside the next seven."""
    ours, theirs = (script(data=lambda: ring(rows=15, steps=5)) for _ in range(2))
    watched(g_first, ours, ["mode_seeking:weight=0.01"], tmp_path)

    class Halves(ByHand):
        def g_term(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor:
            z, x = self.z, s.g(self.z)
            apart = (x[:7] - x[7:14]).abs().mean() / (z[:7] - z[7:14]).abs().mean()
            return self.weight / (apart + 1e-5)

    train(g_first, theirs, Halves(0.01))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_weights_that_mean_nothing_are_refused() -> None:
    """Zero and below."""
    with pytest.raises(UsageError, match="weight must be above zero"):
        parse("mode_seeking:weight=0")
