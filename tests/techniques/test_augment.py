"""Classic augmentation of everything that D sees."""

from __future__ import annotations

import math
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
from torch.nn import functional

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.remediate.snippet import snippet
from gandiag.techniques import parse
from gandiag.techniques._images import Affine, move, rotation, scaling, translation, warp
from gandiag.techniques.augment import Augment

OFF = dict.fromkeys(Augment().params(), 0.0)


def numbers(*values: float) -> tuple[Tensor, ...]:
    return tuple(torch.tensor([value]) for value in values)


def test_a_quarter_turn() -> None:
    """Taking each pixel from where a turn by 90 degrees puts it turns the image, exactly, also if it is not square."""
    x = torch.randn(1, 2, 5, 5)
    torch.testing.assert_close(warp(x, rotation(*numbers(math.pi / 2))), x.rot90(1, (2, 3)))
    tall = torch.zeros(1, 1, 7, 3)
    tall[0, 0, 2, 1] = 1  # one above the middle, which a quarter turn puts one beside it
    turned = warp(tall, rotation(*numbers(math.pi / 2)))
    torch.testing.assert_close(turned[0, 0, 3], torch.tensor([1.0, 0.0, 0.0]))


def test_whole_shifts_and_flips_are_exact() -> None:
    """Mirrored beyond the edge: the pixels at both sides of it are equal."""
    x = torch.randn(1, 2, 4, 6)
    shifted = warp(x, translation(*numbers(-1.0, 0.0)))
    torch.testing.assert_close(shifted, torch.cat([x[..., :1], x[..., :-1]], dim=3))
    torch.testing.assert_close(warp(x, scaling(*numbers(-1.0, 1.0))), x.flip(3))


def test_maps_are_composed_as_matrices_are() -> None:
    """first, then second: the product of their 3x3 matrices."""
    first, second = (Affine(*torch.randn(6, 1)) for _ in range(2))

    def matrix(a: Affine) -> Tensor:
        return torch.cat([torch.stack([*a]).reshape(2, 3), torch.tensor([[0.0, 0.0, 1.0]])])

    torch.testing.assert_close(matrix(second.after(first)), matrix(second) @ matrix(first))


def test_moves_by_whole_pixels_mirrored_or_not() -> None:
    """0 1 2 3 moved by two: 2 1 0 1 with a mirror at the first pixel, 0 0 0 1 without."""
    x = torch.arange(4.0).reshape(1, 1, 1, 4)
    two, none = torch.tensor([2]), torch.tensor([0])
    assert move(x, down=none, right=two, mirror=True).flatten().tolist() == [2, 1, 0, 1]
    assert move(x, down=none, right=two, mirror=False).flatten().tolist() == [0, 0, 0, 1]
    assert move(x, down=none, right=-two, mirror=True).flatten().tolist() == [2, 3, 2, 1]


def test_the_gradient_can_be_differentiated_again() -> None:
    """As the gradient penalty of a script's own needs; the adjoint is that of torch's own sampling."""
    x = torch.randn(2, 2, 6, 5, requires_grad=True)

    def change(x: Tensor) -> Tensor:
        return Augment().d_input(x, generator=own_stream()).tanh()

    assert torch.autograd.gradcheck(change, x)
    assert torch.autograd.gradgradcheck(change, x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_precision(dtype: torch.dtype) -> None:
    """Of half precision only the images are rounded, not the coordinates: 256 pixels stay 256 pixels."""
    x = torch.rand(2, 1, 256, 256).to(dtype)
    found = Augment(**{**OFF, "rotation": 30.0}).d_input(x, generator=own_stream())
    assert found.dtype == dtype
    wanted = Augment(**{**OFF, "rotation": 30.0}).d_input(x.float(), generator=own_stream())
    torch.testing.assert_close(found.float(), wanted, atol=4e-3, rtol=4e-3)


def test_the_adjoint_is_that_of_torchs_own_sampling() -> None:
    """In single precision, which has a kernel of its own, and for images that are not contiguous in memory."""
    x = torch.randn(2, 7, 9, 3, dtype=torch.float32).permute(0, 3, 1, 2).requires_grad_()
    turned = rotation(torch.tensor([0.3, -1.0], dtype=torch.float32))
    weights = torch.randn(2, 3, 7, 9, dtype=torch.float32)
    (ours,) = torch.autograd.grad((warp(x, turned) * weights).sum(), x)
    units = torch.tensor([9 / 7, 7 / 9], dtype=torch.float32)
    theta = torch.stack([*turned], dim=1).reshape(2, 2, 3).clone()
    theta[:, 0, 1] *= 1 / units[0]
    theta[:, 1, 0] *= 1 / units[1]
    grid = functional.affine_grid(theta, (2, 3, 7, 9), align_corners=False)
    sampled = functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    (theirs,) = torch.autograd.grad((sampled * weights).sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_each_strength_is_what_it_says() -> None:
    """Shift, flip and the colours alone, on images on which they can be read off."""
    grey = torch.full((200, 3, 4, 4), 0.5)
    brighter = Augment(**{**OFF, "brightness": 0.2}).d_input(grey, generator=own_stream()) - grey
    assert 0.19 < brighter.max() <= 0.2
    assert -0.2 <= brighter.min() < -0.19
    flipped = Augment(**{**OFF, "flip": 1.0}).d_input(image := torch.randn(4, 1, 5, 5), generator=own_stream())
    torch.testing.assert_close(flipped, image.flip(3))
    half = Augment(**{**OFF, "flip": 0.5}).d_input(
        slope := torch.linspace(-1, 1, 5).expand(400, 1, 5, 5), generator=own_stream()
    )
    assert 150 < (half * slope).sum((1, 2, 3)).lt(0).sum() < 250
    contrasts = Augment(**{**OFF, "contrast": 0.3}).d_input(slope, generator=own_stream()).amax((1, 2, 3))
    assert 0.7 <= contrasts.min() < 0.72
    assert 1.28 < contrasts.max() <= 1.3
    shifted = Augment(**{**OFF, "shift": 0.2}).d_input(slope, generator=own_stream())[:, 0, 0, 2]
    assert 0.49 < shifted.max() <= 0.5  # one of five pixels, half a unit each
    turned = Augment(**{**OFF, "rotation": 30.0}).d_input(slope.expand(400, 1, 5, 5), generator=own_stream())
    rises = turned[:, 0, 2, 3] - turned[:, 0, 2, 1]
    torch.testing.assert_close(rises.min(), torch.tensor(math.cos(math.pi / 6)), atol=0.01, rtol=0)


def augmented(x: Tensor, stream: torch.Generator, *, flip: float) -> Tensor:
    """With 3x3 matrices in torch's normalised coordinates, image by image; 10 degrees, 0.1, 5 degrees, 0.1."""
    n, _, height, width = x.shape
    draws = (torch.rand((9, n), generator=stream) * 2 - 1).T
    images = []
    for image, (f, sh, t, z, dx, dy, b, c, s) in zip(x, draws.tolist(), strict=True):
        angle, tangent, scale = math.radians(10 * t), math.tan(math.radians(5 * sh)), 1 + 0.1 * z
        mirror = torch.diag(torch.tensor([-1.0 if f < 2 * flip - 1 else 1.0, 1.0, 1.0]))
        slant = torch.tensor([[1, tangent, 0], [0, 1, 0], [0, 0, 1]])
        turn = torch.tensor([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
        zoom = torch.diag(torch.tensor([scale, scale, 1.0]))
        shift = torch.tensor([[1, 0, 0.1 * width * dx], [0, 1, 0.1 * height * dy], [0, 0, 1]])
        units = torch.diag(torch.tensor([width / 2, height / 2, 1.0]))
        theta = units.inverse() @ (shift @ zoom @ turn @ slant @ mirror).inverse() @ units
        grid = functional.affine_grid(theta[None, :2], (1, *image.shape), align_corners=False)
        image = functional.grid_sample(image[None], grid, padding_mode="reflection", align_corners=False)[0]
        image = image + 0.1 * b
        image = image.mean() + (1 + 0.1 * c) * (image - image.mean())
        image = image.mean(0) + (1 + 0.1 * s) * (image - image.mean(0))
        images.append(image)
    return torch.stack(images)


class ByHand(Hand):
    """Augmentation at each call of D, from the stream that gandiag uses."""

    def __init__(self, *, flip: float = 0.0) -> None:
        self.flip, self.stream = flip, own_stream()

    def see(self, x: Tensor) -> Tensor:
        return augmented(x, self.stream, flip=self.flip)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: the maps are composed number by number here, as inverses of matrices there."""

    def d() -> ConvD:
        return ConvD(sigmoid=style == "dcgan")

    ours, theirs = (script(g=ConvG, d=d, optimizer=optimizer, data=pictures) for _ in range(2))
    watched(STYLES[style], ours, ["augment:flip=0.3"], tmp_path)
    train(STYLES[style], theirs, ByHand(flip=0.3))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_the_snippet_is_the_technique() -> None:
    """Run as it is printed, on square images, with the numbers that gandiag draws."""
    x, seen = torch.randn(16, 3, 8, 8), {}
    text = "augment:flip=0.3,shear=20,zoom=0.3,rotation=40"
    with torch.random.fork_rng():
        torch.random.set_rng_state(own_stream().get_state())
        exec(snippet([text]), {"torch": torch, "math": math, "F": functional, "x": x, "D": lambda x: seen.update(x=x)})
    wanted = parse(text).d_input(x, generator=own_stream())
    torch.testing.assert_close(seen["x"], wanted)


def test_what_is_off_draws_as_if_it_were_on(tmp_path: Path) -> None:
    """The default has no flip: the other parts get the numbers that they get with it."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(10)) for _ in range(2))
    watched(dcgan, ours, ["augment"], tmp_path)
    train(dcgan, theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


@pytest.mark.parametrize("params", ["rotation=-1", "zoom=1", "shift=2", "flip=1.1", "contrast=2", "brightness=inf"])
def test_bad_parameters_are_refused(params: str) -> None:
    """The message names the parameter."""
    with pytest.raises(UsageError, match=params.split("=")[0]):
        parse(f"augment:{params}")


def test_an_augmentation_that_changes_nothing_is_refused() -> None:
    """All strengths at zero."""
    with pytest.raises(UsageError, match="changes nothing"):
        Augment(**OFF).check()


def test_data_that_are_no_images_are_refused(tmp_path: Path) -> None:
    """Points in the plane cannot be turned as images are."""
    with pytest.raises(TechniqueRefused, match=r"\(16, 2\).*instance_noise"):
        watched(STYLES["g_first"], script(), ["augment"], tmp_path)
