"""Reweighting of real samples by how much D has missed each of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.gan_loops import STYLES, Hand, Script, adam, assert_same, net_for, ring, script, sgd, train, watched
from torch import Tensor
from torch.nn import functional

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.reweighting import discrepancy


def epochs() -> list[Tensor]:
    """Fifty batches, of which there are only four different ones."""
    return [x.clone() for x in ring(steps=4) * 13][:50]


def test_scores_of_three_samples() -> None:
    """Means 1, 0, -5 and spreads sqrt(2), sqrt(2), 0: the last is lifted to 0.01, and 50 times that cuts the others."""
    logits = np.array([[0.0, 2.0], [1.0, -1.0], [-5.0, -5.0]])
    np.testing.assert_allclose(
        discrepancy(logits, k=1.0, ratio=1e9), 3 * (s := np.array([1 + 2**0.5, 2**0.5, 0.01])) / s.sum()
    )
    np.testing.assert_allclose(discrepancy(logits, k=1.0, ratio=50.0), np.array([0.5, 0.5, 0.01]) * 3 / 1.01)


class ByHand(Hand):
    """The script knows the numbers of its samples, and weighs its loss of each."""

    def __init__(self, *, half: bool, after: int, window: int) -> None:
        self.half, self.after, self.window = half, after, window
        self.count, self.logits, self.weights = 0, {n: [] for n in range(4)}, None

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        number, self.count = self.count % 4, self.count + 1
        d_real, d_fake = s.d.logits(real), s.d.logits(fake.detach())
        if self.after < self.count <= self.after + self.window:
            self.logits[number].append(d_real.detach().flatten())
        if self.count == self.after + self.window + 1:
            rows = torch.stack([torch.stack(self.logits[n]) for n in range(4)])  # (batch, time, row)
            score = (rows.mean(1) + 0.5 * rows.std(1)).clamp(min=0.01)
            score = score.clamp(max=float(3 * score.min()))
            self.weights = score / score.mean()
        loss = functional.softplus(-d_real)
        loss = loss if self.weights is None else loss * self.weights[number][:, None]
        loss = loss.mean() + functional.softplus(d_fake).mean()
        return loss / 2 if self.half else loss


@pytest.mark.parametrize(("style", "optimizer"), [("dcgan", adam), ("dcgan", sgd), ("g_first", adam)])
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: what the weights change is added to a gradient that was rounded by itself.

    The third style has a Wasserstein loss, of which D's logit is no density ratio.
    """
    ours, theirs = (script(d=net_for(style), optimizer=optimizer, data=epochs) for _ in range(2))
    run = watched(STYLES[style], ours, ["reweighting:after=12,window=12,k=0.5,ratio=3"], tmp_path)
    hand = ByHand(half=style == "g_first", after=12, window=12)
    train(STYLES[style], theirs, hand)
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)
    assert run.interventions.counts == {"reweighting": 26}
    assert float(hand.weights.std()) > 0.05


def test_samples_that_never_come_again_are_refused(tmp_path: Path) -> None:
    """Fifty different batches: nothing is known of any sample, and the reason is given."""
    with pytest.raises(TechniqueRefused, match="more than once"):
        watched(STYLES["dcgan"], script(d=net_for("dcgan")), ["reweighting:after=4,window=8"], tmp_path)


def test_windows_of_no_length_are_refused() -> None:
    """Zero steps."""
    with pytest.raises(UsageError, match="window must be above zero"):
        parse("reweighting:window=0")
