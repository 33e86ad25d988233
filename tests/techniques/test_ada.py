"""ADA: augmentation of everything that D sees, as often as D's overfitting calls for."""

from __future__ import annotations

import math
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
    dcgan,
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
from gandiag.techniques.ada import ADA, adapted


def test_p_moves_by_one_step_towards_the_target() -> None:
    """Up above it, down below it, not at all on it, and never below zero."""
    p = torch.tensor(0.5)
    for r, wanted in ((0.9, 0.6), (0.2, 0.4), (0.6, 0.5)):
        torch.testing.assert_close(
            adapted(p, overfitting=torch.tensor(r), target=0.6, change=0.1), torch.tensor(wanted)
        )
    assert adapted(torch.tensor(0.05), overfitting=torch.tensor(0.0), target=0.6, change=0.1) == 0


def test_nothing_happens_to_images_at_the_start() -> None:
    """p = 0: each image comes back bit by bit, whatever the pipe."""
    x = torch.randn(4, 3, 8, 8)
    assert torch.equal(ADA().d_input(x, generator=own_stream()), x)


def certain(pipe: str) -> ADA:
    """ADA at p = 1."""
    ada = ADA(pipe=pipe)
    ada._p = torch.tensor(1.0)
    return ada


def test_blitting_only_moves_pixels() -> None:
    """Mirror images, quarter turns and whole steps interpolate nothing: all values are found in the image."""
    x = torch.randn(20, 1, 8, 8)
    changed = certain("b").d_input(x, generator=own_stream())
    for before, after in zip(x, changed, strict=True):
        assert (before.flatten()[:, None] - after.flatten()).abs().amin(dim=0).max() < 1e-12
    assert (changed != x).flatten(1).any(dim=1).sum() > 15


def test_grey_images_stay_grey() -> None:
    """The axis of greys is where it was after each change of colours, and mirrored about half of the time."""
    x = torch.ones(400, 1, 2, 2).expand(400, 3, 2, 2)
    changed = certain("c").d_input(x, generator=own_stream())
    torch.testing.assert_close(changed, changed[:, :1].expand_as(changed))
    assert 150 < (changed[:, 0, 0, 0] < 0).sum() < 250


def test_the_gradient_can_be_differentiated_again() -> None:
    """As the gradient penalty of a script's own needs."""
    x = torch.randn(3, 3, 5, 5, requires_grad=True)

    def change(x: Tensor) -> Tensor:
        return certain("bgc").d_input(x, generator=own_stream()).tanh()

    assert torch.autograd.gradcheck(change, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(change, x, fast_mode=True)


def turn(angle: float) -> Tensor:
    return torch.tensor([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])


def stretch(x: float, y: float) -> Tensor:
    return torch.diag(torch.tensor([x, y, 1.0]))


def shift(x: float, y: float) -> Tensor:
    return torch.tensor([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def augmented(x: Tensor, p: float, stream: torch.Generator) -> Tensor:
    """stylegan2-ada's bgc pipe image by image: 3x3 matrices for pixels, 4x4 matrices for colours."""
    n, channels, height, width = x.shape
    draws = zip(
        x,
        torch.rand((13, n), generator=stream).T.tolist(),
        (torch.rand((8, n), generator=stream) * 2 - 1).T.tolist(),
        torch.randn((7, n), generator=stream).T.tolist(),
        strict=True,
    )
    p_turn = 1 - math.sqrt(max(1 - p, 0.0))
    images = []
    for image, coins, u, g in draws:
        inverse = torch.eye(3)
        if coins[0] < p and u[0] >= 0:
            inverse = inverse @ stretch(-1, 1)
        if coins[1] < p:
            inverse = inverse @ turn(math.pi / 2 * math.floor((u[1] + 1) * 2))
        if coins[2] < p:
            inverse = inverse @ shift(-round(u[2] * width / 8), -round(u[3] * height / 8))
        if coins[3] < p:
            inverse = inverse @ stretch(2 ** (-0.2 * g[0]), 2 ** (-0.2 * g[0]))
        if coins[4] < p_turn:
            inverse = inverse @ turn(math.pi * u[4])
        if coins[5] < p:
            inverse = inverse @ stretch(2 ** (-0.2 * g[1]), 2 ** (0.2 * g[1]))
        if coins[6] < p_turn:
            inverse = inverse @ turn(math.pi * u[5])
        if coins[7] < p:
            inverse = inverse @ shift(-g[2] * width / 8, -g[3] * height / 8)
        if not torch.equal(inverse, torch.eye(3)):
            units = stretch(width / 2, height / 2)
            theta = (units.inverse() @ inverse @ units)[None, :2]
            grid = functional.affine_grid(theta, (1, *image.shape), align_corners=False)
            image = functional.grid_sample(image[None], grid, padding_mode="reflection", align_corners=False)[0]
        color = torch.eye(4)
        grey = functional.pad(torch.ones(3, 3) / 3, (0, 1, 0, 1))
        if coins[8] < p:
            color[:3, 3] += 0.2 * g[4]
        if coins[9] < p:
            color = torch.diag(torch.tensor([2 ** (0.5 * g[5])] * 3 + [1.0])) @ color
        if coins[10] < p and u[6] >= 0:
            color = (torch.eye(4) - 2 * grey) @ color
        if coins[11] < p:
            axis = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0.0]]) / math.sqrt(3)
            color = (
                functional.pad(torch.linalg.matrix_exp(math.pi * u[7] * axis), (0, 1, 0, 1)).index_put(
                    (torch.tensor(3), torch.tensor(3)), torch.tensor(1.0)
                )
                @ color
            )
        if coins[12] < p:
            only = torch.diag(torch.tensor([1.0, 1, 1, 0]))
            color = (torch.eye(4) - only + grey + (only - grey) * 2 ** g[6]) @ color
        if not torch.equal(color, torch.eye(4)):
            if channels == 1:
                row = color[:3].mean(0)
                image = image * row[:3].sum() + row[3]
            else:
                image = torch.einsum("dc,chw->dhw", color[:3, :3], image) + color[:3, 3, None, None]
        images.append(image)
    return torch.stack(images)


class ByHand(Hand):
    """The pipe at each call of D; at each fourth step of D p is moved by what D said of the real images."""

    def __init__(self, *, kimg: float, target: float) -> None:
        self.p, self.kimg, self.target, self.stream = 0.0, kimg, target, own_stream()
        self.saw: list[tuple[Tensor, Tensor]] = []
        self.signs: list[float] = []
        self.history: list[float] = []

    def see(self, x: Tensor) -> Tensor:
        self.saw.append((x, augmented(x, self.p, self.stream)))
        return self.saw[-1][1]

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> None:
        shown = next(shown for given, shown in reversed(self.saw) if given is real)
        self.signs.append(s.d.logits(shown).sign().mean().item())
        if len(self.signs) == 4:
            r = sum(self.signs) / 4
            step = len(real) * 4 / (self.kimg * 1000)
            self.p = max(self.p + step * ((r > self.target) - (r < self.target)), 0.0)
            self.history.append(self.p)
            self.signs = []


class ColorD(ConvD):
    def __init__(self, *, sigmoid: bool) -> None:
        super().__init__(sigmoid=sigmoid, channels=3)


class ColorG(ConvG):
    """Three channels, each a multiple of one."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) * torch.tensor([1.0, 0.5, -0.3]).reshape(3, 1, 1)


def colorful() -> list[Tensor]:
    return [torch.cat([x, x.flip(2), -0.5 * x], dim=1) for x in pictures()]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(
    style: str, optimizer: Callable[..., object], channels: int, tmp_path: Path
) -> None:
    """Within 1e-6: maps and colours are composed number by number here, as products of matrices there."""
    sigmoid = style == "dcgan"

    def start() -> Script:
        if channels == 3:
            return script(g=ColorG, d=lambda: ColorD(sigmoid=sigmoid), optimizer=optimizer, data=colorful)
        return script(g=ConvG, d=lambda: ConvD(sigmoid=sigmoid), optimizer=optimizer, data=pictures)

    ours, theirs = start(), start()
    hand = ByHand(kimg=0.6, target=0.2)
    run = watched(STYLES[style], ours, ["ada:kimg=0.6,target=0.2"], tmp_path)
    train(STYLES[style], theirs, hand)
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)
    assert max(hand.history) > 0
    torch.testing.assert_close(run.techniques[0].probability(torch.zeros(())), torch.tensor(hand.p))


def test_p_rises_where_d_knows_the_real_images(tmp_path: Path) -> None:
    """D that calls all real images real has r = 1, above any target; 50 steps of 16 images are 12 changes of p."""

    class Sure(ConvD):
        def logits(self, x: Tensor) -> Tensor:
            return super().logits(x) * 1e-3 + 1

    ours = script(g=ConvG, d=Sure, data=pictures)
    run = watched(dcgan, ours, ["ada:kimg=10"], tmp_path)
    torch.testing.assert_close(
        run.techniques[0].probability(torch.zeros(())), torch.tensor(12 * 16 * 4 / 10_000), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("params", ["target=0", "target=1.5", "interval=0", "kimg=0", "pipe=bgx", "pipe=", "pipe=bb"])
def test_bad_parameters_are_refused(params: str) -> None:
    """The message names the parameter."""
    with pytest.raises(UsageError, match=params.split("=")[0]):
        parse(f"ada:{params}")


def test_data_that_are_no_images_are_refused(tmp_path: Path) -> None:
    """Points in the plane cannot be augmented as images are."""
    with pytest.raises(TechniqueRefused, match=r"\(16, 2\).*instance_noise"):
        watched(g_first, script(), ["ada"], tmp_path)
