"""LSGAN: least squares on D's outputs."""

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
from gandiag.techniques.lsgan import least_squares_d, least_squares_g


def test_the_losses_are_half_the_mean_squares() -> None:
    """Reals at 3 and 1 with target 1: (4 + 0) / 2 / 2 = 1; a fake at 2 with target 0: 2; G's, with target 1: 1/2."""
    real, fake = torch.tensor([3.0, 1.0]), torch.tensor([2.0])
    assert least_squares_d(real=real, fake=fake, a=0.0, b=1.0) == 3
    assert least_squares_g(fake=fake, c=1.0) == 0.5


def test_the_two_codings_of_the_paper() -> None:
    """With a=-1, b=1, c=0 undecided outputs cost D 1/2 + 1/2 and G nothing."""
    zero = torch.zeros(4, 1)
    assert least_squares_d(real=zero, fake=zero, a=-1.0, b=1.0) == 1
    assert least_squares_g(fake=zero, c=0.0) == 0


class ByHand(Hand):
    """Both losses replaced, with mean squared errors as one writes them."""

    def __init__(self, *, a: float, b: float, c: float) -> None:
        self.a, self.b, self.c = a, b, c

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        of_real = 0.5 * torch.mean((s.d.logits(real) - self.b) ** 2)
        of_fake = 0.5 * torch.mean((s.d.logits(fake.detach()) - self.a) ** 2)
        return of_real + of_fake

    def g_loss(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        # A loop that steps G first has its own loss in the first round: gandiag has seen no real batch yet.
        return None if real is None else 0.5 * torch.mean((s.d.logits(fake) - self.c) ** 2)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit, whatever losses the script has: nothing of them is left."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["lsgan:a=-0.5,b=1,c=0.75"], tmp_path)
    train(STYLES[style], theirs, ByHand(a=-0.5, b=1.0, c=0.75))
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A DCGAN-like D that ends in a 4x4 convolution and a sigmoid is read before the sigmoid."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=pictures) for _ in range(2))
    watched(dcgan, ours, ["lsgan:a=-0.5,b=1,c=0.75"], tmp_path)
    train(dcgan, theirs, ByHand(a=-0.5, b=1.0, c=0.75))
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_loop_on_uneven_batches(tmp_path: Path) -> None:
    """Each side is averaged by itself, so fewer reals than fakes make no difference."""
    ours, theirs = (script(data=shrinking) for _ in range(2))
    watched(uneven, ours, ["lsgan:a=-0.5,b=1,c=0.75"], tmp_path)
    train(uneven, theirs, ByHand(a=-0.5, b=1.0, c=0.75))
    assert_same(ours.tensors(), theirs.tensors())


@pytest.mark.parametrize("text", ["lsgan:a=1,b=0", "lsgan:a=0,c=-1", "lsgan:b=inf"])
def test_targets_the_wrong_way_round_are_refused(text: str) -> None:
    """G would be asked for what D calls fake."""
    with pytest.raises(UsageError, match="must lie above"):
        parse(text)


def test_smoothed_labels_are_refused(tmp_path: Path) -> None:
    """They are cross-entropy's; the targets of least squares are parameters."""
    with pytest.raises(TechniqueRefused, match=r"lsgan.*label_smoothing"):
        watched(dcgan, script(d=net_for("dcgan")), ["lsgan", "label_smoothing"], tmp_path)
