"""The player that is too far ahead waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.batches import Judge, batch_of
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
    ring,
    script,
    train,
    watched,
)
from torch import Tensor, distributed
from torch.optim import Optimizer

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import Batch, parse
from gandiag.techniques.adaptive_n_critic import AdaptiveNCritic, accuracy


def test_three_of_five_are_right() -> None:
    """Reals above zero and fakes below it; zero itself is neither."""
    assert accuracy(real=torch.tensor([[1.0], [-1.0], [0.0]]), fake=torch.tensor([[-1.0], [-2.0]])) == 0.6


def test_d_waits_where_it_is_sure_and_g_where_d_knows_nothing() -> None:
    """Accuracies 1, 0.75, 0.25 with high=0.8 and low=0.5; before D's first step nobody waits."""
    technique = AdaptiveNCritic(high=0.8, low=0.5)
    assert not technique.skips(role="g")
    for right, waits in ((4, (True, False)), (3, (False, False)), (1, (False, True))):
        logits = torch.ones(4)
        logits[right:] = -1
        technique.d_loss(batch(real=logits[:2], fake=-logits[2:]))
        assert (technique.skips(role="d"), technique.skips(role="g")) == waits


def batch(*, real: Tensor | None, fake: Tensor | None) -> Batch:
    samples = torch.zeros(2, 2)
    return replace(batch_of(Judge(lambda x: x), real=samples, fake=samples), real_logits=real, fake_logits=fake)


class ByHand(Hand):
    """D's accuracy on the batch of this step, from a forward of its own."""

    def __init__(self, *, high: float, low: float) -> None:
        self.high, self.low, self.right = high, low, low
        self.left_out = {"d": 0, "g": 0}

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor | None:
        with torch.no_grad():
            right = (s.d.logits(real) > 0).sum() + (s.d.logits(fake) < 0).sum()
        self.right = int(right) / (len(real) + len(fake))
        return None

    def step(self, s: Script, optimizer: Optimizer) -> None:
        if optimizer is s.optimizer_d and self.right > self.high:
            self.left_out["d"] += 1
        elif optimizer is s.optimizer_g and self.right < self.low:
            self.left_out["g"] += 1
        else:
            optimizer.step()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit, moments too, from the logits of the script's own forward; G waits for a D that knows nothing yet."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer, data=aside) for _ in range(2))
    run = watched(STYLES[style], ours, ["adaptive_n_critic:high=0.6,low=0.55"], tmp_path)
    hand = ByHand(high=0.6, low=0.55)
    train(STYLES[style], theirs, hand)
    assert_same(ours.tensors(), theirs.tensors())
    assert run.interventions.counts["adaptive_n_critic"] == sum(hand.left_out.values())
    assert hand.left_out["g"] > 0
    assert hand.left_out["d"] > 0 or style == "n_critic"  # a critic's zero is anywhere: it is never above the bound


def aside() -> list[Tensor]:
    """Data that is soon told from what G makes at first."""
    return [x + torch.tensor([2.0, 0.0]) for x in ring()]


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """Stripes are soon told from noise: D waits, at the default bound."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=pictures) for _ in range(2))
    watched(dcgan, ours, ["adaptive_n_critic"], tmp_path)
    hand = ByHand(high=0.8, low=0.0)
    train(dcgan, theirs, hand)
    assert_same(ours.tensors(), theirs.tensors())
    assert hand.left_out["d"] > 0


@pytest.mark.parametrize("wrong", ["high=0", "high=1.5", "low=0.9", "low=-1", "high=1"])
def test_bounds_that_mean_nothing_are_refused(wrong: str) -> None:
    """Out of range, crossed, or leaving nothing out."""
    with pytest.raises(UsageError, match="adaptive_n_critic"):
        parse(f"adaptive_n_critic:{wrong}")


def test_logits_that_are_not_known_are_refused() -> None:
    """A loss that does not reach D's first output says nothing of its accuracy."""
    with pytest.raises(TechniqueRefused, match="use n_critic"):
        AdaptiveNCritic().d_loss(batch(real=None, fake=torch.zeros(2)))


def test_several_ranks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would decide by itself."""
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    with pytest.raises(TechniqueRefused, match="several ranks"):
        AdaptiveNCritic().d_loss(batch(real=torch.zeros(2), fake=torch.zeros(2)))
