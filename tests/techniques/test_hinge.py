"""Hinge: D has a margin of one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
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

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.hinge import hinge_d, hinge_g


def test_a_sample_beyond_the_margin_costs_nothing() -> None:
    """Reals at 2 and 0 cost 0 and 1, fakes at -2, 0 and 2 cost 0, 1 and 3: 1/2 + 4/3; G's loss is -0."""
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0, 2.0])
    torch.testing.assert_close(hinge_d(real=real, fake=fake), torch.tensor(1 / 2 + 4 / 3))
    assert hinge_g(fake=fake) == 0


def test_g_is_pulled_alike_wherever_d_puts_its_samples() -> None:
    """G's gradient is -1/n at each logit, also where D is as sure as can be."""
    fake = torch.tensor([-100.0, 0.0, 100.0, 3.0], requires_grad=True)
    hinge_g(fake=fake).backward()
    assert torch.equal(fake.grad, torch.full((4,), -0.25))


class ByHand(Hand):
    """Both losses replaced, as in SNGAN."""

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        below, above = 1 - s.d.logits(real), 1 + s.d.logits(fake.detach())
        return below.clamp(min=0).mean() + above.clamp(min=0).mean()

    def g_loss(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        # A loop that steps G first has its own loss in the first round: gandiag has seen no real batch yet.
        return None if real is None else -s.d.logits(fake).mean()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit, whatever losses the script has: nothing of them is left."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["hinge"], tmp_path)
    train(STYLES[style], theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A DCGAN-like D that ends in a 4x4 convolution and a sigmoid is read before the sigmoid."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=pictures) for _ in range(2))
    watched(dcgan, ours, ["hinge"], tmp_path)
    train(dcgan, theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_loop_on_uneven_batches(tmp_path: Path) -> None:
    """Each side is averaged by itself, so fewer reals than fakes make no difference."""
    ours, theirs = (script(data=shrinking) for _ in range(2))
    watched(uneven, ours, ["hinge"], tmp_path)
    train(uneven, theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    """There is nothing to set, and smoothed labels are cross-entropy's."""
    with pytest.raises(UsageError, match="none"):
        parse("hinge:margin=2")
    with pytest.raises(TechniqueRefused, match=r"hinge.*label_smoothing"):
        watched(dcgan, script(d=net_for("dcgan")), ["hinge", "label_smoothing"], tmp_path)
