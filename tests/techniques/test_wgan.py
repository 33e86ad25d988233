"""WGAN: the Wasserstein loss with weight clipping."""

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
from torch import Tensor, nn

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.wgan import clamp_weights, wasserstein_d


def test_the_loss_is_the_difference_of_the_means() -> None:
    """Reals at 3 and 1, a fake at 5: 5 - 2 = 3."""
    assert wasserstein_d(real=torch.tensor([3.0, 1.0]), fake=torch.tensor([5.0])) == 3


def test_all_weights_are_moved_into_the_box() -> None:
    """Weights, biases and those of a norm layer; what lies inside stays where it is."""
    net = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[0.25, -3.0]]))
        net[0].bias.fill_(2.0)
    clamp_weights([net], c=0.5)
    assert torch.equal(net[0].weight, torch.tensor([[0.25, -0.5]]))
    assert net[0].bias == net[1].weight == 0.5


class ByHand(Hand):
    """Both losses replaced, and D clipped after its step."""

    def __init__(self, *, c: float) -> None:
        self.c = c

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        return -(s.d.logits(real).mean() - s.d.logits(fake.detach()).mean())

    def g_loss(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        # A loop that steps G first has its own loss in the first round: gandiag has seen no real batch yet.
        return None if real is None else -s.d.logits(fake).mean()

    def after_d_step(self, s: Script) -> None:
        for p in s.d.parameters():
            p.data.clamp_(-self.c, self.c)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit, whatever losses the script has; and the walls of the box are reached."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["wgan:c=0.1"], tmp_path)
    train(STYLES[style], theirs, ByHand(c=0.1))
    assert_same(ours.tensors(), theirs.tensors())
    assert max(p.abs().max() for p in ours.d.parameters()) == 0.1


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A DCGAN-like D that ends in a 4x4 convolution and a sigmoid is read before the sigmoid."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=pictures) for _ in range(2))
    watched(dcgan, ours, ["wgan:c=0.1"], tmp_path)
    train(dcgan, theirs, ByHand(c=0.1))
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_loop_on_uneven_batches(tmp_path: Path) -> None:
    """Each side is averaged by itself, so fewer reals than fakes make no difference."""
    ours, theirs = (script(data=shrinking) for _ in range(2))
    watched(uneven, ours, ["wgan:c=0.1"], tmp_path)
    train(uneven, theirs, ByHand(c=0.1))
    assert_same(ours.tensors(), theirs.tensors())


@pytest.mark.parametrize("text", ["wgan:c=0", "wgan:c=-0.01", "wgan:c=inf"])
def test_boxes_that_hold_nothing_are_refused(text: str) -> None:
    """A box of no width is no D, and one without walls does not clip."""
    with pytest.raises(UsageError, match="above zero"):
        parse(text)


@pytest.mark.parametrize("other", parse("wgan").card.conflicts)
def test_what_does_not_go_with_clipping_is_refused(other: str, tmp_path: Path) -> None:
    """Weights whose size means nothing, added weights that would not be clipped, and cross-entropy's targets."""
    with pytest.raises(TechniqueRefused, match=f"wgan.*{other}"):
        watched(dcgan, script(d=net_for("dcgan")), ["wgan", other], tmp_path)
