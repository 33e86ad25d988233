"""RpGAN: the relativistic pairing loss alone."""

from __future__ import annotations

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
    script,
    train,
    watched,
)
from helpers.uneven_batches import shrinking, uneven
from torch import Tensor
from torch.nn import functional

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse


def test_each_fake_meets_one_real() -> None:
    """Reals 1 and 0, fakes 0 and 3: the pairs are one apart and three the other way; swapped for G."""
    batch = batch_of(Judge(lambda x: x), real=torch.tensor([[1.0], [0.0]]), fake=torch.tensor([[0.0], [3.0]]))
    one, three = (functional.softplus(torch.tensor(value)) for value in (-1.0, 3.0))
    torch.testing.assert_close(parse("rpgan").d_loss(batch), (one + three) / 2)
    one, three = (functional.softplus(torch.tensor(value)) for value in (1.0, -3.0))
    torch.testing.assert_close(parse("rpgan").g_loss(batch), (one + three) / 2)


class ByHand(Hand):
    """Both losses replaced by the log-sigmoid of the difference; where a batch is short it starts over."""

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        d_real, d_fake = s.d.logits(real), s.d.logits(fake.detach())
        return functional.softplus(d_fake[: len(d_real)] - d_real).mean()

    def g_loss(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        # A loop that steps G first has its own loss in the first round: gandiag has seen no real batch yet.
        if real is None:
            return None
        again = torch.arange(len(fake)) % len(real)
        return functional.softplus(s.d.logits(real).detach()[again] - s.d.logits(fake)).mean()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit, whatever losses the script has: nothing of them is left."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["rpgan"], tmp_path)
    train(STYLES[style], theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A DCGAN-like D that ends in a 4x4 convolution and a sigmoid is read before the sigmoid."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=pictures) for _ in range(2))
    watched(dcgan, ours, ["rpgan"], tmp_path)
    train(dcgan, theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_loop_on_uneven_batches(tmp_path: Path) -> None:
    """D compares as many pairs as there are; in G's step each fake has a partner, the first reals once more."""
    ours, theirs = (script(data=shrinking) for _ in range(2))
    watched(uneven, ours, ["rpgan"], tmp_path)
    train(uneven, theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    """There is nothing to set, and smoothed labels are cross-entropy's."""
    with pytest.raises(UsageError, match="none"):
        parse("rpgan:gamma=1")
    with pytest.raises(TechniqueRefused, match=r"rpgan.*label_smoothing"):
        watched(dcgan, script(d=net_for("dcgan")), ["rpgan", "label_smoothing"], tmp_path)
