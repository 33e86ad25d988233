"""Differentiable changes of images, for the techniques that show D other images than the script gives it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from gandiag.errors import TechniqueRefused

#: torch's own numbers for bilinear sampling, and for reflection at the edge.
_BILINEAR, _REFLECT = 0, 2


def need_images(name: str, x: Tensor) -> None:
    """Refuse samples that are no images.

    Raises:
        TechniqueRefused: `x` has not the shape (n, c, h, w).
    """
    if x.ndim != 4:
        raise TechniqueRefused(
            f"{name} is made for images, of shape (n, c, h, w), and D was given {tuple(x.shape)}; for other data use "
            "instance_noise or r1 against a D that is too strong, pacgan or minibatch_stddev against lost diversity"
        )


def full_precision(x: Tensor) -> Tensor:
    """`x` in at least single precision: in half precision coordinates would be rounded to parts of pixels."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class Affine(NamedTuple):
    """One affine map of the plane for each image: (x, y) -> (xx x + xy y + x0, yx x + yy y + y0), all of shape (n,).

    In pixels from an image's middle, x to the right, y down.
    """

    xx: Tensor
    xy: Tensor
    x0: Tensor
    yx: Tensor
    yy: Tensor
    y0: Tensor

    def after(self, first: Affine) -> Affine:
        """Do `first`, then this one."""
        return Affine(
            self.xx * first.xx + self.xy * first.yx,
            self.xx * first.xy + self.xy * first.yy,
            self.xx * first.x0 + self.xy * first.y0 + self.x0,
            self.yx * first.xx + self.yy * first.yx,
            self.yx * first.xy + self.yy * first.yy,
            self.yx * first.x0 + self.yy * first.y0 + self.y0,
        )


def rotation(angle: Tensor) -> Affine:
    """A turn by `angle`, in radians."""
    none = torch.zeros_like(angle)
    return Affine(angle.cos(), -angle.sin(), none, angle.sin(), angle.cos(), none)


def scaling(x: Tensor, y: Tensor) -> Affine:
    """A scaling of both axes."""
    none = torch.zeros_like(x)
    return Affine(x, none, none, none, y, none)


def translation(x: Tensor, y: Tensor) -> Affine:
    """A shift, in pixels."""
    one, none = torch.ones_like(x), torch.zeros_like(x)
    return Affine(one, none, x, none, one, y)


def shearing(slope: Tensor) -> Affine:
    """Rows are shifted by `slope` times their height."""
    one, none = torch.ones_like(slope), torch.zeros_like(slope)
    return Affine(one, slope, none, none, one, none)


def warp(x: Float[Tensor, "n c h w"], source: Affine) -> Float[Tensor, "n c h w"]:
    """Images whose pixel p is the one at source(p) of `x`: bilinear between pixels, mirrored beyond the edge.

    Args:
        x: the images; their gradient can be differentiated again.
        source: where each pixel is taken from; no gradient.
    """
    height, width = x.shape[2:]
    # Number by number and not as a product of matrices: TF32 and autocast would round coordinates to parts of pixels.
    across = torch.arange(width, device=x.device, dtype=x.dtype) - (width - 1) / 2
    down = (torch.arange(height, device=x.device, dtype=x.dtype) - (height - 1) / 2)[:, None]
    xx, xy, x0, yx, yy, y0 = (entry.reshape(-1, 1, 1) for entry in source)
    # torch's coordinates have the image's edges at -1 and 1.
    grid = torch.stack(
        [(xx * across + xy * down + x0) * (2 / width), (yx * across + yy * down + y0) * (2 / height)], dim=-1
    )
    warped: Tensor = _Sample.apply(x, grid)  # type: ignore[no-untyped-call]
    return warped


class _Sample(torch.autograd.Function):
    """`functional.grid_sample`, whose gradient torch cannot differentiate again in all versions.

    It is linear in the images, so all that a gradient penalty needs is this map and its adjoint, in turns.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = x.shape
        return functional.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (grid,) = ctx.saved_tensors
        return _Spread.apply(gradient, grid, ctx.shape), None  # type: ignore[no-untyped-call]


class _Spread(torch.autograd.Function):
    """The adjoint of `_Sample`."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        anything = gradient.new_empty(()).expand(shape)  # its values matter for the grid's gradient alone
        spread: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            gradient, anything, grid, _BILINEAR, _REFLECT, False, [True, False]
        )[0]
        return spread

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (grid,) = ctx.saved_tensors
        return _Sample.apply(gradient, grid), None, None  # type: ignore[no-untyped-call]


def move(
    x: Float[Tensor, "n c h w"], *, down: Int[Tensor, " n"], right: Int[Tensor, " n"], mirror: bool
) -> Float[Tensor, "n c h w"]:
    """Images moved by whole pixels; what comes in at the edge is the mirrored image, or zero."""
    height, width = x.shape[2:]
    rows = torch.arange(height, device=x.device) - down[:, None]
    columns = torch.arange(width, device=x.device) - right[:, None]
    if mirror:
        rows, columns = _reflected(rows, height), _reflected(columns, width)
    else:
        # One more pixel all around, of zeros; whatever lies outside is read there.
        x = functional.pad(x, (1, 1, 1, 1))
        rows, columns = (rows + 1).clamp(0, height + 1), (columns + 1).clamp(0, width + 1)
    each = torch.arange(len(x), device=x.device)[:, None, None, None]
    channels = torch.arange(x.shape[1], device=x.device)[:, None, None]
    return x[each, channels, rows[:, None, :, None], columns[:, None, None, :]]


def _reflected(index: Tensor, size: int) -> Tensor:
    """Indices beyond an axis's ends, mirrored at its first and last element."""
    last = max(size - 1, 1)
    return last - (index.abs() % (2 * last) - last).abs() if size > 1 else torch.zeros_like(index)
