"""Multi-scale structural similarity of images, and its mean over pairs of one set: diversity that needs no embedding.

Sources: Wang, Simoncelli and Bovik 2003, "Multiscale structural similarity for image quality assessment", Eq. 7, and
the constants of that paper; as a measure of diversity: Odena, Olah and Shlens 2017, arXiv:1610.09585.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gandiag.errors import ShapeError, UsageError
from gandiag.metrics._pairs import some_pairs

Images: TypeAlias = Tensor | NDArray[Any]
"""`[n, c, h, w]`: uint8, or floating-point of any range."""

Labels: TypeAlias = Tensor | NDArray[Any] | Sequence[int]

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, finest first; they sum to 1.0001, as printed."""

WINDOW, SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2  # of the range squared
_AT_A_TIME = 2**20  # numbers of one of the two batches that are compared at a time: 8 MiB, and some ten times that


@dataclass(frozen=True, eq=False)
class PairSimilarity:
    """How alike two images of one set are.

    Attributes:
        mean: over the pairs, in [0, 1]; *lower* is more diverse.
        values: `[p]` of each pair.
        pairs: `[p, 2]` which images these are.
        scales: how many scales the images were large enough for, 1 to 5; with fewer than 5 this is not the number of
            the paper.
        data_range: the range of values that was given or found.
    """

    mean: float
    values: Float[Tensor, " p"] = field(repr=False)
    pairs: Int[Tensor, "p 2"] = field(repr=False)
    scales: int
    data_range: float


def ms_ssim(x: Images, y: Images, *, data_range: float | None = None, scales: int | None = None) -> Float[Tensor, " n"]:
    """Similarity of image i of `x` to image i of `y`.

    Each channel is compared by itself, without padding, and the channels are averaged. Between scales, 2 x 2 pixels are
    averaged; an odd last row or column is repeated, as in the authors' code. A negative mean structure, of images that
    are each other's opposite, counts as 0, for it has no fractional power.

    Args:
        x: `[n, c, h, w]`, uint8 or floating-point.
        y: as many of the same shape.
        data_range: what the largest value is above the smallest *possible* one. None: 255 for uint8; for
            floating-point 1 if all values are within [0, 1], or 2 if all are within [-1, 1]; nothing else is guessed.
        scales: from 1 (plain SSIM) to 5 (the paper's). None: as many as the images are large enough for, that is as
            often as their smaller side can be halved and have 11 pixels. With fewer than 5 the exponents of those used
            are divided by their sum, and the value is not comparable with one of 5 scales.

    Returns:
        `[n]` float64 in [0, 1], 1 for equal images.

    Raises:
        ShapeError: not 4-D, shapes differ, not finite, or too small for the scales.
        UsageError: the range is unclear or not positive, or there is no such count of scales.

    >>> one = torch.linspace(0, 1, 256).reshape(1, 1, 16, 16)
    >>> round(float(ms_ssim(one, one)), 12)
    1.0
    """
    x, y = _images(x, "x"), _images(y, "y")
    if x.shape != y.shape:
        raise ShapeError(f"x has shape {list(x.shape)} and y {list(y.shape)}; give as many images of the same shape")
    y = y.to(x.device)
    span = _range(data_range, x, y)
    used = _scales(x, scales)
    rows = torch.arange(len(x))
    return _similarities(x, y, torch.stack([rows, rows], dim=1), span, used)


def pair_ms_ssim(
    images: Images,
    *,
    pairs: int = 1000,
    labels: Labels | None = None,
    data_range: float | None = None,
    scales: int | None = None,
    seed: int = 0,
) -> PairSimilarity:
    """Mean similarity of two different images of one set. No global random stream is touched.

    Raw values say little, since some kinds of data are more alike than others. Compare with the same of as many data,
    made with the same `pairs`, `scales` and `data_range`.

    Args:
        images: `[n, c, h, w]`, n at least 2.
        pairs: how many pairs, drawn at random without repetition; all there are, where there are no more.
        labels: `[n]` classes, negative for none; with them both images of a pair are of one class, as Odena et al. did.
        data_range: see `ms_ssim`; looked for in all images.
        scales: see `ms_ssim`.
        seed: for the pairs.

    Raises:
        ShapeError: as `ms_ssim`, or the labels are not one integer for each image.
        UsageError: as `ms_ssim`, `pairs` is below 1, or no two images make a pair.
    """
    images = _images(images, "images")
    span = _range(data_range, images)
    used = _scales(images, scales)
    classes = np.zeros(len(images), dtype=np.int64) if labels is None else _classes(labels, len(images))
    chosen = torch.from_numpy(some_pairs(classes, pairs=pairs, seed=seed))
    values = _similarities(images, images, chosen, span, used)
    return PairSimilarity(float(values.mean()), values, chosen, used, span)


def _similarities(x: Tensor, y: Tensor, pairs: Int[Tensor, "p 2"], span: float, scales: int) -> Float[Tensor, " p"]:
    first, second = pairs.to(x.device).unbind(dim=1)
    values = torch.empty(len(pairs), dtype=torch.float64)
    step = max(1, _AT_A_TIME // x.shape[1:].numel())
    for start in range(0, len(pairs), step):
        part = slice(start, start + step)
        values[part] = _similarity(x[first[part]].double(), y[second[part]].double(), span, scales).cpu()
    return values


def _similarity(x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"], span: float, scales: int) -> Tensor:
    weights = WEIGHTS if scales == len(WEIGHTS) else [w / sum(WEIGHTS[:scales]) for w in WEIGHTS[:scales]]
    product = x.new_ones(x.shape[:2])
    for scale, weight in enumerate(weights):
        if scale:
            x, y = _halved(x), _halved(y)
        mean_x, mean_y = _blurred(x), _blurred(y)
        variances = _blurred(x * x) + _blurred(y * y) - mean_x * mean_x - mean_y * mean_y
        covariance = _blurred(x * y) - mean_x * mean_y
        maps = (2 * covariance + _C2 * span**2) / (variances + _C2 * span**2)
        if scale == scales - 1:  # luminance counts at the coarsest scale only
            maps *= (2 * mean_x * mean_y + _C1 * span**2) / (mean_x * mean_x + mean_y * mean_y + _C1 * span**2)
        product *= maps.mean(dim=(2, 3)).clamp(min=0) ** weight
    return product.mean(dim=1)


def _blurred(x: Float[Tensor, "n c h w"]) -> Tensor:
    """The Gaussian-weighted mean of each window that lies inside.

    Eleven shifted sums an axis: 10 to 30 times faster than torch's convolution of float64 on the CPU.
    """
    steps = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-steps.square() / (2 * SIGMA**2))
    taps = (weights / weights.sum()).tolist()
    for axis in (2, 3):
        inside = x.shape[axis] - WINDOW + 1
        total = x.narrow(axis, 0, inside) * taps[0]
        for at, tap in enumerate(taps[1:], start=1):
            total.add_(x.narrow(axis, at, inside), alpha=tap)
        x = total
    return x


def _halved(x: Float[Tensor, "n c h w"]) -> Tensor:
    even = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), mode="replicate")
    return F.avg_pool2d(even, 2)


def _images(x: Images, name: str) -> Tensor:
    try:
        images = torch.as_tensor(x).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(f"{name} cannot be read as images ({error}); give an [n, c, h, w] tensor") from error
    if images.ndim != 4 or images.shape[1] == 0:
        raise ShapeError(f"{name} must be images [n, c, h, w], channels first, but has shape {list(images.shape)}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ShapeError(f"{name} must hold uint8 or floating-point values, not {images.dtype}; convert them first")
    if not bool(torch.isfinite(images).all()):
        raise ShapeError(f"{name} holds NaN or infinity; remove those images, or look at what made them")
    return images.cpu() if images.device.type == "mps" else images  # that device has no float64


def _range(given: float | None, *images: Tensor) -> float:
    if given is not None:
        if not 0 < given < float("inf"):
            raise UsageError(f"data_range must be a positive number, got {given}")
        return float(given)
    if all(x.dtype == torch.uint8 for x in images):
        return 255.0
    low = min((float(x.min()) for x in images if x.numel()), default=0.0)
    high = max((float(x.max()) for x in images if x.numel()), default=0.0)
    if any(x.dtype == torch.uint8 for x in images) or low < -1 or high > 1:
        raise UsageError(
            f"data_range is unclear: values go from {low:g} to {high:g}; give the range of all possible values, "
            "such as data_range=255"
        )
    return 1.0 if low >= 0 else 2.0


def _scales(images: Tensor, asked: int | None) -> int:
    if asked is not None and not 1 <= asked <= len(WEIGHTS):
        raise UsageError(f"scales must be from 1 to {len(WEIGHTS)}, got {asked}")
    side, fitting = min(images.shape[2:]), 0
    while side >= WINDOW and fitting < len(WEIGHTS):
        side, fitting = (side + 1) // 2, fitting + 1
    if fitting < (asked or 1):
        wanted = WINDOW if asked in (None, 1) else (WINDOW - 1) * 2 ** (asked - 1) + 1
        raise ShapeError(
            f"images of {images.shape[2]} x {images.shape[3]} pixels are too small for {asked or 1} scales, which need "
            f"{wanted} a side; ask for fewer scales, enlarge real and fake images alike, or embed them and compare "
            "pair_diversity"
        )
    return fitting if asked is None else asked


def _classes(labels: Labels, count: int) -> NDArray[np.int64]:
    array = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer):
        raise ShapeError(f"labels must hold one integer for each of {count} images, got {array.dtype} {array.shape}")
    return array.astype(np.int64)
