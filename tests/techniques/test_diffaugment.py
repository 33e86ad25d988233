"""DiffAugment: differentiable augmentation of everything that D sees."""

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
    assert_same,
    dcgan,
    own_stream,
    pictures,
    script,
    train,
    watched,
)
from torch import Tensor

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.diffaugment import cut_out, jitter, translate


def test_translation_moves_by_whole_pixels() -> None:
    """One bright pixel of each image comes back once at most, at most an eighth away, in each of the nine places."""
    x = torch.zeros(500, 1, 16, 16)
    x[:, :, 8, 8] = 1
    moved = translate(x, ratio=1 / 16, generator=own_stream())
    places = moved.sum(dim=0)[0].nonzero()
    assert moved.sum() == 500
    assert sorted(map(tuple, places.tolist())) == [(i, j) for i in (7, 8, 9) for j in (7, 8, 9)]


def test_zeros_come_in_at_the_edge() -> None:
    """An image of ones moved by (1, -2) has a row and two columns of zeros."""
    stream = own_stream()
    down, right = (int(torch.randint(-2, 3, (1,), generator=stream)) for _ in range(2))
    moved = translate(torch.ones(1, 1, 8, 8), ratio=0.25, generator=own_stream())
    assert (down, right) != (0, 0)
    assert moved.sum() == (8 - abs(down)) * (8 - abs(right))


def test_cut_out_takes_a_rectangle() -> None:
    """What is left of an image of ones is what lies outside of a half-size rectangle, wherever its middle is."""
    left = cut_out(torch.ones(300, 1, 8, 6), ratio=0.5, generator=own_stream())
    for image in left[:, 0]:
        rows, columns = (image == 0).any(dim=1).nonzero(), (image == 0).any(dim=0).nonzero()
        assert (image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] == 0).all()
        assert 2 <= len(rows) <= 4
        assert 1 <= len(columns) <= 3
    assert {int((image == 0).sum()) for image in left} >= {12, 4}


def test_jitter_of_a_grey_image() -> None:
    """One colour all over has neither saturation nor contrast: only the brightness changes, by at most a half."""
    x = torch.full((200, 3, 4, 4), 0.25)
    change = jitter(x, generator=own_stream()) - x
    torch.testing.assert_close(change, change[:, :1, :1, :1].expand_as(change))
    assert -0.5 <= change.min() < -0.4
    assert 0.4 < change.max() <= 0.5


def augmented(x: Tensor, stream: torch.Generator, policy: str = "color+translation+cutout") -> Tensor:
    """Image by image, with slices of images instead of indices of pixels."""
    n, _, height, width = x.shape
    if "color" in policy:
        b, s, c = (torch.rand((n, 1, 1, 1), generator=stream) for _ in range(3))
        x = x + (b - 0.5)
        mean = x.mean(1, keepdim=True)
        x = (x - mean) * (2 * s) + mean
        mean = x.mean((1, 2, 3), keepdim=True)
        x = (x - mean) * (c + 0.5) + mean
    if "translation" in policy:
        downs, rights = (torch.randint(-(k // 8), k // 8 + 1, (n,), generator=stream) for k in (height, width))
        moved = []
        for image, i, j in zip(x, downs.tolist(), rights.tolist(), strict=True):
            room = torch.zeros(len(image), 3 * height, 3 * width)
            room[:, height + i : 2 * height + i, width + j : 2 * width + j] = image
            moved.append(room[:, height : 2 * height, width : 2 * width])
        x = torch.stack(moved)
    if "cutout" in policy:
        a, b = height // 2, width // 2
        i = torch.randint(0, height + (1 - a % 2), (n,), generator=stream).tolist()
        j = torch.randint(0, width + (1 - b % 2), (n,), generator=stream).tolist()
        mask = torch.ones(n, 1, height, width)
        for k in range(n):
            top, left = i[k] - a // 2, j[k] - b // 2
            mask[k, :, max(top, 0) : top + a, max(left, 0) : left + b] = 0
        x = x * mask
    return x


class ByHand(Hand):
    """Augmentation at each call of D, from the stream that gandiag uses."""

    def __init__(self, policy: str = "color+translation+cutout") -> None:
        self.policy, self.stream = policy, own_stream()

    def see(self, x: Tensor) -> Tensor:
        return augmented(x, self.stream, self.policy)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit: the same numbers, the same products, in the same order."""

    def d() -> ConvD:
        return ConvD(sigmoid=style == "dcgan")

    ours, theirs = (script(g=ConvG, d=d, optimizer=optimizer, data=pictures) for _ in range(2))
    watched(STYLES[style], ours, ["diffaugment"], tmp_path)
    train(STYLES[style], theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


@pytest.mark.parametrize("policy", ["color", "translation", "cutout", "translation+cutout"])
def test_each_part_alone_equals_the_hand_written_loop(policy: str, tmp_path: Path) -> None:
    """A policy of fewer parts draws fewer numbers."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(10)) for _ in range(2))
    watched(dcgan, ours, [f"diffaugment:policy={policy}"], tmp_path)
    train(dcgan, theirs, ByHand(policy))
    assert_same(ours.tensors(), theirs.tensors())


def test_the_gradient_can_be_differentiated_again() -> None:
    """As the gradient penalty of a script's own needs."""
    x = torch.randn(2, 3, 8, 8, requires_grad=True)

    def change(x: Tensor) -> Tensor:
        return parse("diffaugment").d_input(x, generator=own_stream()).tanh()

    assert torch.autograd.gradcheck(change, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(change, x, fast_mode=True)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("policy=colour", "'colour'"),
        ("policy=", "''"),
        ("policy=color+color", "twice"),
        ("translation=0", "translation"),
        ("cutout=1.5", "cutout"),
    ],
)
def test_bad_parameters_are_refused(params: str, message: str) -> None:
    """A policy is some of the three parts, each once; shares are shares."""
    with pytest.raises(UsageError, match=message):
        parse(f"diffaugment:{params}")


def test_data_that_are_no_images_are_refused(tmp_path: Path) -> None:
    """Points in the plane can be neither moved nor cut out; the message names what can be done instead."""
    with pytest.raises(TechniqueRefused, match=r"\(16, 2\).*instance_noise"):
        watched(STYLES["g_first"], script(), ["diffaugment"], tmp_path)
