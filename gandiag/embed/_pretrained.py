"""What embedders with trained weights share: files on this disk, and pixels as the network knows them.

Nothing is ever downloaded: a missing file is an error that says where it was looked for and how to get it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gandiag.embed._words import channels_last, times
from gandiag.embed.base import Fitted
from gandiag.errors import ShapeError, UsageError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's channels, in [0, 1]: what torchvision's and DINOv2's networks are given."""
SCALES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
SLACK = 0.01
"""Of a scale's width: by so much resizing may have carried real pixels past its ends."""
LEAST = 1 / 16
"""Of a scale's width: what real pixels span at least. Standardised ones, from -2 to 3, are not on [0, 255]."""


class Recipe(NamedTuple):
    """How a network wants its images.

    Attributes:
        side: pixels along each side.
        mode: how images are resized to it, with antialiasing.
        work: float32 numbers that it holds for one image.
    """

    side: int
    mode: Literal["bilinear", "bicubic"]
    work: int


def fit_network(name: str, real: Tensor, net: Callable[[], nn.Module], recipe: Recipe) -> Fitted:
    """An embedder from a network for images; `net` is called last, as what can be refused without it is cheaper.

    Args:
        name: of the embedder, for messages.
        real: [n, c, h, w] images of one or three channels; their values must lie on one of the usual scales.
        net: makes the network, images [n, 3, side, side] to features [n, d].
        recipe: how it wants its images.

    Raises:
        ShapeError: no images.
        UsageError: values on no usual scale, or what `net` raises.
    """
    shape = tuple(real.shape[1:])
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ShapeError(
            f"{name} needs images [n, 3, h, w] or [n, 1, h, w], and a sample is {times(shape)}{channels_last(shape)}"
        )
    low, high = scale(real, name)
    network = net().eval().requires_grad_(False)

    def features(x: Tensor) -> Tensor:
        network.to(x.device)  # moves nothing where it is already
        found: Tensor = network(prepare(x, scale=(low, high), recipe=recipe))
        return found

    notes = [
        f"pixels were taken to lie on [{low:g}, {high:g}] and brought to ImageNet's mean and spread",
        f"images of {shape[1]} x {shape[2]} pixels were resized to {recipe.side} x {recipe.side} ({recipe.mode})",
    ]
    if shape[0] == 1:
        notes.append("one channel was given to the network three times")
    return Fitted(features, tuple(notes), recipe.work)


def scale(real: Tensor, name: str) -> tuple[float, float]:
    """The ends of the scale that real pixels lie on: those of a byte, or [0, 1], [-1, 1] or [0, 255].

    Raises:
        UsageError: none of them.
    """
    if real.dtype == torch.uint8:
        return 0.0, 255.0
    low, high = (value.item() for value in real.aminmax())
    for least, most in SCALES:
        slack = SLACK * (most - least)
        if least - slack <= low and high <= most + slack and high - low > LEAST * (most - least):
            return least, most
    raise UsageError(
        f"{name} must know black from white: real values from {low:.4g} to {high:.4g} are on none of the scales "
        "[0, 1], [-1, 1] and [0, 255]; bring both sets to one of them"
    )


def prepare(x: Tensor, *, scale: tuple[float, float], recipe: Recipe) -> Tensor:
    """Images as the network knows them; nothing is clipped.

    Args:
        x: [n, c, h, w] with one or three channels.
        scale: the values of black and white.
        recipe: how the network wants them.

    Returns:
        [n, 3, side, side] float32.
    """
    black, white = scale
    pixels = (x.float() - black) / (white - black)
    if tuple(x.shape[2:]) != (recipe.side, recipe.side):
        pixels = F.interpolate(
            pixels, size=(recipe.side, recipe.side), mode=recipe.mode, align_corners=False, antialias=True
        )
    mean, deviation = (torch.tensor(values, device=x.device).view(1, 3, 1, 1) for values in IMAGENET)
    return (pixels - mean) / deviation  # one channel becomes three here


def on_disk(name: str, paths: Sequence[Path], cure: str) -> None:
    """Make sure that files are there.

    Raises:
        UsageError: some are missing; the message names each, and `cure`.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise UsageError(
            f"embedder {name!r} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not there; "
            f"gandiag downloads nothing. {cure}, or set TORCH_HOME to a cache that has it"
        )


def load(name: str, make: Callable[[], nn.Module]) -> nn.Module:
    """Make a network from files that are there, on the CPU.

    Raises:
        UsageError: the files cannot be read.
    """
    try:
        with torch.random.fork_rng(devices=[]):  # weights are drawn before they are read
            return make()
    except Exception as error:  # code and weights of others: what they raise has no end
        raise UsageError(
            f"the network of embedder {name!r} could not be made from what is on this disk: "
            f"{type(error).__name__}: {error}. Delete what was cached for it and get it anew"
        ) from error
