"""One-sided label smoothing: the real target is 0.9."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import STYLES, D, Hand, adam, assert_same, script, sgd, train, watched
from torch.nn import functional

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.label_smoothing import smoothing_term


def test_the_term_is_the_difference_of_the_two_losses() -> None:
    """BCE with target 0.75 minus BCE with target 1 is 0.25 * mean(logits), exactly 0.5 for logits 1, 2, 3."""
    logits = torch.tensor([1.0, 2.0, 3.0])
    term = smoothing_term(logits, target=0.75)
    assert term == 0.5
    smooth = functional.binary_cross_entropy_with_logits(logits, torch.full((3,), 0.75))
    hard = functional.binary_cross_entropy_with_logits(logits, torch.ones(3))
    torch.testing.assert_close(smooth - hard, term)


class ByHand(Hand):
    """The real target is 0.9; the loops read it where they make their target tensor."""

    real_target = 0.9


@pytest.mark.parametrize(("style", "sigmoid", "optimizer"), [("dcgan", True, adam), ("g_first", False, sgd)])
def test_equals_the_hand_written_loop(style: str, sigmoid: bool, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: the term is added to a gradient that was rounded by itself, and its weight is read off it.

    The weight is 1 in the first loop and 0.5 in the second one, (loss_real + loss_fake) / 2.
    """
    ours, theirs = (script(d=lambda: D(sigmoid=sigmoid), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["label_smoothing:real=0.9"], tmp_path)
    train(STYLES[style], theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_a_batch_of_real_and_fake_together(tmp_path: Path) -> None:
    """D(cat(real, fake)) with one loss over all rows: the weight of the real half, 0.5, is found too."""

    def loop(s: object, hand: Hand) -> None:
        for real in s.batches:
            fake = s.g(torch.randn(len(real), 2))
            s.optimizer_d.zero_grad()
            target = torch.cat(
                [torch.full((len(real), 1), getattr(hand, "real_target", 1.0)), torch.zeros(len(fake), 1)]
            )
            output = s.d(torch.cat([real, fake.detach()]))
            functional.binary_cross_entropy_with_logits(output, target).backward()
            s.optimizer_d.step()
            s.optimizer_g.zero_grad()
            functional.softplus(-s.d(fake)).mean().backward()
            s.optimizer_g.step()

    ours, theirs = script(), script()
    watched(loop, ours, ["label_smoothing"], tmp_path)
    train(loop, theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_gradient_accumulation(tmp_path: Path) -> None:
    """Two halves of a batch, each loss halved: each half has its own term at the script's own weight."""

    def loop(s: object, hand: Hand) -> None:
        for real in s.batches:
            s.optimizer_d.zero_grad()
            for half in real.chunk(2):
                fake = s.g(torch.randn(len(half), 2)).detach()
                output = s.d(half)
                target = torch.full_like(output, getattr(hand, "real_target", 1.0))
                loss = (
                    functional.binary_cross_entropy_with_logits(output, target) + functional.softplus(s.d(fake)).mean()
                )
                (loss / 2).backward()
            s.optimizer_d.step()
            s.optimizer_g.zero_grad()
            functional.softplus(-s.d(s.g(torch.randn(len(real), 2)))).mean().backward()
            s.optimizer_g.step()

    ours, theirs = script(), script()
    watched(loop, ours, ["label_smoothing"], tmp_path)
    train(loop, theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_targets_that_are_no_smoothing_are_refused() -> None:
    """1 is the plain loss, and 0.5 asks D for nothing."""
    for text in ("label_smoothing:real=1", "label_smoothing:real=0.5"):
        with pytest.raises(UsageError, match="between"):
            parse(text)
