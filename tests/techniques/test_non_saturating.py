"""The non-saturating loss in place of minimax."""

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
from torch.nn import functional

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.non_saturating import cross_entropy_d, non_saturating_g


def test_they_are_cross_entropy_on_logits() -> None:
    """torch's own binary cross-entropy, real with target 1, fake with 0, and G's fakes with 1."""
    real, fake = torch.randn(5, 1), torch.randn(3, 1)
    bce = functional.binary_cross_entropy_with_logits
    wanted = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
    torch.testing.assert_close(cross_entropy_d(real=real, fake=fake), wanted)
    torch.testing.assert_close(non_saturating_g(fake=fake), bce(fake, torch.ones_like(fake)))


def test_g_is_pulled_hardest_where_d_is_surest() -> None:
    """At a logit of -50 the slope is -1; the minimax loss has 2e-22 there."""
    fake = torch.full((1,), -50.0, requires_grad=True)
    (slope,) = torch.autograd.grad(non_saturating_g(fake=fake), fake)
    (minimax,) = torch.autograd.grad(-functional.softplus(fake).mean(), fake)
    torch.testing.assert_close(slope, torch.tensor([-1.0]))
    assert 0 < -minimax < 1e-20


def saturating(s: Script, hand: Hand) -> None:
    """The minimax game as it stands: G descends what D ascends."""
    for real in s.batches:
        s.optimizer_d.zero_grad()
        fake = s.g(torch.randn(len(real), 2))
        loss = functional.softplus(-s.d(real)).mean() + functional.softplus(s.d(fake.detach())).mean()
        if (own := hand.d_loss(s, real=real, fake=fake.detach())) is not None:
            loss = own
        loss.backward()
        s.optimizer_d.step()
        s.optimizer_g.zero_grad()
        loss = -functional.softplus(s.d(fake)).mean()
        if (own := hand.g_loss(s, real=real, fake=fake)) is not None:
            loss = own
        loss.backward()
        s.optimizer_g.step()


class ByHand(Hand):
    """Both losses replaced by cross-entropy, with G's target 1."""

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        d_real, d_fake = s.d.logits(real), s.d.logits(fake.detach())
        return functional.softplus(-d_real).mean() + functional.softplus(d_fake).mean()

    def g_loss(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        # A loop that steps G first has its own loss in the first round: gandiag has seen no real batch yet.
        return None if real is None else functional.softplus(-s.d.logits(fake)).mean()


def test_equals_the_hand_written_loop_that_was_minimax(tmp_path: Path) -> None:
    """Bit for bit, and far from what the minimax loss makes of it."""
    ours, theirs, plain = (script() for _ in range(3))
    watched(saturating, ours, ["non_saturating"], tmp_path)
    train(saturating, theirs, ByHand())
    train(saturating, plain)
    assert_same(ours.tensors(), theirs.tensors())
    assert (ours.g.layers[0].weight - plain.g.layers[0].weight).abs().max() > 1e-3


def test_where_the_script_has_this_loss_nothing_changes(tmp_path: Path) -> None:
    """The DCGAN loop with target 1 for its fakes: the same up to rounding."""
    ours, plain = (script(d=net_for("dcgan")) for _ in range(2))
    watched(dcgan, ours, ["non_saturating"], tmp_path)
    train(dcgan, plain)
    assert_same(ours.tensors(), plain.tensors(), within=1e-6)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit, whatever losses the script has: nothing of them is left."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["non_saturating"], tmp_path)
    train(STYLES[style], theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A DCGAN-like D that ends in a 4x4 convolution and a sigmoid is read before the sigmoid."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=pictures) for _ in range(2))
    watched(dcgan, ours, ["non_saturating"], tmp_path)
    train(dcgan, theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_loop_on_uneven_batches(tmp_path: Path) -> None:
    """Each side is averaged by itself, so fewer reals than fakes make no difference."""
    ours, theirs = (script(data=shrinking) for _ in range(2))
    watched(uneven, ours, ["non_saturating"], tmp_path)
    train(uneven, theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    """There is nothing to set; and the weight that smoothing reads off the script's loss is of a loss that is gone."""
    with pytest.raises(UsageError, match="none"):
        parse("non_saturating:target=1")
    with pytest.raises(TechniqueRefused, match=r"non_saturating.*label_smoothing"):
        watched(dcgan, script(d=net_for("dcgan")), ["non_saturating", "label_smoothing"], tmp_path)
