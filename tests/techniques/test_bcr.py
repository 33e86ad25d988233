"""bCR: D shall judge an image and its augmentation alike."""

from __future__ import annotations

from collections.abc import Callable
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
    g_first,
    own_stream,
    pictures,
    script,
    train,
    watched,
)
from torch import Tensor
from torch.nn import functional

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.bcr import flip_and_shift, inconsistency


def test_the_inconsistency_is_the_mean_squared_difference() -> None:
    """Differences 3 and -1 have the mean square 5; both sides are pulled, with opposite signs."""
    a, b = torch.tensor([[4.0], [0.0]], requires_grad=True), torch.tensor([[1.0], [1.0]], requires_grad=True)
    value = inconsistency(a, b)
    value.backward()
    assert value == 5
    assert torch.equal(a.grad, torch.tensor([[3.0], [-1.0]]))
    assert torch.equal(b.grad, -a.grad)


def test_each_of_all_places_and_both_sides_come_up() -> None:
    """2 x 3 x 3 different images come of one of 8x8 pixels, each value of it mirrored at the edge."""
    image = torch.randn(1, 1, 8, 8)
    changed = flip_and_shift(image.expand(500, 1, 8, 8), ratio=0.125, generator=own_stream())
    wanted = []
    for side in (image, image.flip(3)):
        padded = functional.pad(side, (1, 1, 1, 1), mode="reflect")[0]
        wanted += [padded[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    found = [next(k for k, one in enumerate(wanted) if torch.equal(one, x)) for x in changed]
    assert set(found) == set(range(18))


class ByHand(Hand):
    """The paper's two terms, from padded images and slices."""

    def __init__(self, *, real: float, fake: float) -> None:
        self.real, self.fake, self.stream = real, fake, own_stream()

    def change(self, x: Tensor) -> Tensor:
        flips = torch.rand(len(x), generator=self.stream) < 0.5
        downs, rights = (torch.randint(-1, 2, (len(x),), generator=self.stream).tolist() for _ in range(2))
        images = []
        for image, flip, i, j in zip(x, flips, downs, rights, strict=True):
            image = functional.pad(image.flip(2) if flip else image, (1, 1, 1, 1), mode="reflect")
            images.append(image[:, 1 - i : 9 - i, 1 - j : 9 - j])
        return torch.stack(images)

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        fake = fake.detach()
        term = 0
        if self.real:
            term = term + self.real * (s.d.logits(real) - s.d.logits(self.change(real))).square().mean()
        if self.fake:
            term = term + self.fake * (s.d.logits(fake) - s.d.logits(self.change(fake))).square().mean()
        return term


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: Callable[..., object], tmp_path: Path) -> None:
    """Bit for bit: the same terms' gradient is added to the same gradients."""

    def d() -> ConvD:
        return ConvD(sigmoid=style == "dcgan")

    ours, theirs = (script(g=ConvG, d=d, optimizer=optimizer, data=pictures) for _ in range(2))
    watched(STYLES[style], ours, ["bcr:real=2,fake=3"], tmp_path)
    train(STYLES[style], theirs, ByHand(real=2, fake=3))
    assert_same(ours.tensors(), theirs.tensors())


@pytest.mark.parametrize(("real", "fake"), [(2, 0), (0, 3)])
def test_one_side_alone_equals_the_hand_written_loop(real: float, fake: float, tmp_path: Path) -> None:
    """CR-GAN on real images, and its counterpart; the other side draws nothing."""
    ours, theirs = (script(g=ConvG, d=lambda: ConvD(sigmoid=False), data=lambda: pictures(10)) for _ in range(2))
    watched(g_first, ours, [f"bcr:real={real},fake={fake}"], tmp_path)
    train(g_first, theirs, ByHand(real=real, fake=fake))
    assert_same(ours.tensors(), theirs.tensors())


@pytest.mark.parametrize("params", ["real=-1", "fake=inf", "shift=1"])
def test_bad_parameters_are_refused(params: str) -> None:
    """The message names the parameter."""
    with pytest.raises(UsageError, match=params.split("=")[0]):
        parse(f"bcr:{params}")


def test_two_weights_of_zero_are_refused() -> None:
    """They would add nothing."""
    with pytest.raises(UsageError, match="adds nothing"):
        parse("bcr:real=0,fake=0")


def test_data_that_are_no_images_are_refused(tmp_path: Path) -> None:
    """Points in the plane can be neither flipped nor moved; no weight has changed, though G steps first."""
    ours = script()
    before = ours.tensors()
    with pytest.raises(TechniqueRefused, match=r"\(16, 2\).*instance_noise"):
        watched(g_first, ours, ["bcr"], tmp_path)
    assert_same(ours.tensors(), before)
