"""Classic augmentation of everything that D sees: turns, shifts, shear, zoom, flips and colour."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.techniques._images import (
    Affine,
    full_precision,
    need_images,
    rotation,
    scaling,
    shearing,
    translation,
    warp,
)
from gandiag.techniques.base import Card, Technique, technique


@technique(
    Card(
        name="augment",
        summary="Shows D images turned, shifted, sheared, zoomed, flipped and in other colours, real and fake alike.",
        treats={"GD201": 0.35, "GD101": 0.15, "GD203": 0.15},
        source="Zhao et al. 2020, arXiv:2006.02595 (both sides augmented); the ranges are those of image classifiers",
        seams=("d_input",),
        cost=1.9,
        data=("images",),
        cautions=(
            "for images (n, c, h, w) only",
            "what the data never does leaks into the samples where it is too strong or certain: half of all images "
            "flipped teaches G to flip",
            "images are interpolated between pixels, which blurs what D sees of real and fake alike",
        ),
        snippet="""\
def augmented(x):                                           # square images
    u = torch.rand((9, len(x)), device=x.device) * 2 - 1
    flip = torch.where(u[0] < 2 * {flip} - 1, -1.0, 1.0)
    slant, turn = (math.radians({shear}) * u[1]).tan(), math.radians({rotation}) * u[2]
    cos, sin = turn.cos(), turn.sin()
    back = torch.stack([flip * (cos + slant * sin), flip * (sin - slant * cos), -sin, cos], dim=1)
    back = (back / (1 + {zoom} * u[3])[:, None]).reshape(-1, 2, 2)
    theta = torch.cat([back, -back @ (2 * {shift} * u[4:6].T[:, :, None])], dim=2)
    grid = F.affine_grid(theta, x.shape, align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    brightness, contrast, saturation = u[6:].reshape(3, -1, 1, 1, 1)
    x = x + {brightness} * brightness
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (1 + {contrast} * contrast) + mean
    mean = x.mean(1, keepdim=True)
    return (x - mean) * (1 + {saturation} * saturation) + mean

output = D(augmented(x))                                    # for each x that D sees while training""",
    )
)
@dataclass
class Augment(Technique):
    """Augmentation with one affine map and one change of colours for each image; 0 turns a part off.

    The parts are drawn evenly from their range, in gandiag's own random stream, and done in this order: flip, shear,
    rotation, zoom, shift, brightness, contrast, saturation.

    Attributes:
        rotation: the largest angle, in degrees.
        shift: the largest shift in each direction, as a share of the image's size.
        shear: the largest angle of the rows' shear, in degrees.
        zoom: the scale is drawn from 1 - zoom to 1 + zoom.
        flip: the probability of a mirror image, left for right.
        brightness: the largest number added to a whole image, in the data's units.
        contrast: the distance from an image's mean is multiplied by 1 - contrast to 1 + contrast.
        saturation: likewise the distance from each pixel's mean over the channels.
    """

    rotation: float = 10.0
    shift: float = 0.1
    shear: float = 5.0
    zoom: float = 0.1
    flip: float = 0.0
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1

    def check(self) -> None:
        """Refuse ranges that mean nothing, and an augmentation that changes nothing."""
        most = {"rotation": 180, "shear": 60, "flip": 1, "contrast": 1, "saturation": 1, "brightness": math.inf}
        for name, value in self.params().items():
            top = most.get(name, 0.9)  # an image that is shifted away, or has the size zero, shows nothing
            if not (0 <= value <= top and value < math.inf):
                raise UsageError(f"technique 'augment': {name} must lie between 0 and {top}, got {value}")
        if not any(self.params().values()):
            raise UsageError("technique 'augment': all strengths are 0, which changes nothing; raise one of them")

    def d_input(self, x: Tensor, *, generator: torch.Generator) -> Tensor:
        """The affine map, then the colours, differentiable in x."""
        need_images("augment", x)
        given, x = x, full_precision(x)
        # All draws in one call, also of what is off: turning one part off changes nothing about the others.
        even = torch.rand((9, len(x)), device=x.device, dtype=x.dtype, generator=generator) * 2 - 1
        if self.rotation or self.shift or self.shear or self.zoom or self.flip:
            x = warp(x, self._source(x, even[:6]))
        if self.brightness or self.contrast or self.saturation:
            x = self._colored(x, even[6:])
        return x.to(given.dtype)

    def _source(self, x: Tensor, even: Float[Tensor, "6 n"]) -> Affine:
        """Where each pixel of the new image lies in the old one: every part undone, the last one first."""
        height, width = x.shape[2:]
        flip, shear, turn, zoom, right, down = even
        sign = torch.where(flip < 2 * self.flip - 1, -1.0, 1.0).to(x.dtype)
        scale = 1 / (1 + self.zoom * zoom)
        back = translation(-self.shift * width * right, -self.shift * height * down)
        back = scaling(scale, scale).after(back)
        back = rotation(-math.radians(self.rotation) * turn).after(back)
        back = shearing(-(math.radians(self.shear) * shear).tan()).after(back)
        return scaling(sign, torch.ones_like(sign)).after(back)

    def _colored(self, x: Tensor, even: Float[Tensor, "3 n"]) -> Tensor:
        brightness, contrast, saturation = even.reshape(3, -1, 1, 1, 1)
        x = x + self.brightness * brightness
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = (x - mean) * (1 + self.contrast * contrast) + mean
        mean = x.mean(dim=1, keepdim=True)
        colored: Tensor = (x - mean) * (1 + self.saturation * saturation) + mean
        return colored
