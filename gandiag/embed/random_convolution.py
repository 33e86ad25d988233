"""A small convolutional network with random weights, for images: no download, no training, the same everywhere.

Source: random networks as embedders of images far from ImageNet, Naeem et al. 2020, arXiv:2002.09797. Weights are
drawn as He et al. 2015, arXiv:1502.01852, do. The network is shallow on purpose: in a trial on digits, a
third layer helped with shifted ones and hurt with stacked ones, and four hurt with both.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, prod

import torch
from torch import Tensor
from torch.nn import functional as F

from gandiag.embed._words import channels_last, cut_off, times
from gandiag.embed.base import Shape, embedder
from gandiag.errors import ShapeError

CHANNELS = (64, 32)
CELLS = 4
"""The last layer is averaged over 4 x 4 cells. Over the whole image, the modes of digits were not found (ARI 0.18)."""
SMALLEST, LARGEST = 4, 64
"""Pixels along a side. Larger images are pooled first: a layer sees 3 pixels, and should see more than grain."""
SEED = 20210607


def _notes(shape: Shape) -> tuple[str, ...]:
    if len(shape) != 3 or min(shape[1:]) < SMALLEST:
        return ()  # refused when it comes to embedding
    factor = _factor(shape)
    pooled = f"average-pooled by {factor}{cut_off(shape[1:], factor)}" if factor > 1 else "embedded at full size"
    return (f"images of {times(shape)} were {pooled}{channels_last(shape)}",)


def _work(shape: Shape) -> int:
    if len(shape) != 3 or min(shape[1:]) < SMALLEST:
        return 0
    return prod(shape) + 3 * CHANNELS[0] * prod(shape[1:]) // _factor(shape) ** 2


@embedder("random_convolution", notes=_notes, work=_work)
def random_convolution(x: Tensor) -> Tensor:
    """Two layers of 3 x 3 convolutions and ReLUs, averaged over 4 x 4 cells.

    Args:
        x: [n, c, h, w] images with any number of channels, sides of at least 4; where one is longer than 64 they are
            average-pooled first.

    Returns:
        [n, 512] float32. Without biases: twice the contrast gives twice the features.

    Raises:
        ShapeError: samples are no images, or too small ones.
    """
    shape = tuple(x.shape[1:])
    if len(shape) != 3 or min(shape[1:]) < SMALLEST:
        raise ShapeError(
            f"random_convolution needs images [n, c, h, w] of at least {SMALLEST} x {SMALLEST} pixels, and a sample is "
            f"{times(shape)}{channels_last(shape) or '; take identity or random_projection'}"
        )
    features = F.avg_pool2d(x.float(), factor) if (factor := _factor(shape)) > 1 else x.float()
    for layer, weight in enumerate(_weights(shape[0], x.device)):
        if layer and min(features.shape[2:]) >= 2 * CELLS:
            features = F.avg_pool2d(features, 2)
        # The rim repeats: zeros would look like an edge around every image whose background is not 0.
        features = F.conv2d(F.pad(features, (1, 1, 1, 1), mode="replicate"), weight).relu_()
    return F.adaptive_avg_pool2d(features, CELLS).flatten(1)


def _factor(shape: Shape) -> int:
    """How many pixels along each side are averaged; 1 for none."""
    return min(ceil(max(shape[1:]) / LARGEST), min(shape[1:]) // SMALLEST)


@lru_cache(maxsize=4)
def _weights(channels: int, device: torch.device) -> list[Tensor]:
    # Drawn on the CPU, by a generator of its own: the same numbers on every device, and no global stream moves.
    generator = torch.Generator().manual_seed(SEED + channels)
    weights = []
    for before, after in zip((channels, *CHANNELS), CHANNELS, strict=False):
        weight = torch.randn(after, before, 3, 3, generator=generator) * (2 / (9 * before)) ** 0.5
        weights.append(weight.to(device, non_blocking=True))
    return weights
