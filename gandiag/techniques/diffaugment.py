"""DiffAugment: differentiable augmentation of everything that D sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.techniques._images import move, need_images
from gandiag.techniques.base import Card, Technique, technique

PARTS = ("color", "translation", "cutout")


def jitter(x: Float[Tensor, "n c h w"], *, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """Other brightness, saturation and contrast for each image, in this order.

    Brightness: plus U(-0.5, 0.5). Saturation: the distance from each pixel's mean over the channels times U(0, 2).
    Contrast: the distance from each image's mean times U(0.5, 1.5).
    """
    brightness, saturation, contrast = (_uniform(x, generator) for _ in range(3))
    x = x + (brightness - 0.5)
    mean = x.mean(dim=1, keepdim=True)
    x = (x - mean) * (saturation * 2) + mean
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * (contrast + 0.5) + mean


def translate(x: Float[Tensor, "n c h w"], *, ratio: float, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """Each image moved by up to `ratio` of its size, in whole pixels; zeros come in at the edge."""
    down, right = (_integers(x, -int(size * ratio), int(size * ratio), generator) for size in x.shape[2:])
    return move(x, down=down, right=right, mirror=False)


def cut_out(x: Float[Tensor, "n c h w"], *, ratio: float, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """A rectangle of `ratio` of each image's height and width set to zero; it may reach over the edge."""
    outside = []
    for size in x.shape[2:]:
        cut = int(size * ratio)
        middle = _integers(x, 0, size - cut % 2, generator)
        index = torch.arange(size, device=x.device) - (middle[:, None] - cut // 2)
        outside.append((index < 0) | (index >= cut))
    rows, columns = outside
    return x * (rows[:, :, None] | columns[:, None, :]).unsqueeze(1)


@technique(
    Card(
        name="diffaugment",
        summary="Shows D images with other colours, moved and partly cut out: real and fake alike, in both phases.",
        treats={"GD201": 0.45, "GD101": 0.2, "GD203": 0.2},
        source="Zhao et al. 2020, arXiv:2006.10738, and the authors' DiffAugment_pytorch.py",
        seams=("d_input",),
        cost=1.6,
        data=("images",),
        cautions=(
            "for images (n, c, h, w) only, with values about -1 to 1",
            "what the data never does leaks into the samples where it is too strong: leave out the parts that do",
            "helps where D learns few images by heart; with plenty of data it does little",
        ),
        snippet="""\
from DiffAugment_pytorch import DiffAugment   # the authors' file, github.com/mit-han-lab/data-efficient-gans
policy = "{policy}".replace("+", ",")         # its ratios are 1/8 and 1/2; for others edit it: {translation}, {cutout}
output = D(DiffAugment(x, policy))            # for each x that D sees while training, in D's step and in G's""",
    )
)
@dataclass
class DiffAugment(Technique):
    """DiffAugment with the authors' distributions.

    Attributes:
        policy: which parts, joined by "+", in the order in which they are done.
        translation: how far images are moved at most, as a share of their size; 0.125 is the authors'.
        cutout: the size of what is cut out, likewise; 0.5 is the authors'.
    """

    policy: str = "color+translation+cutout"
    translation: float = 0.125
    cutout: float = 0.5

    def check(self) -> None:
        """Refuse parts that there are not, and shares that are none."""
        parts = self.policy.split("+")
        if unknown := [part for part in parts if part not in PARTS]:
            raise UsageError(
                f"technique 'diffaugment': policy={self.policy!r} has the part {unknown[0]!r}; give some of "
                f"{'+'.join(PARTS)}, joined by '+'"
            )
        if len(set(parts)) < len(parts):
            raise UsageError(f"technique 'diffaugment': policy={self.policy!r} names a part twice; give each once")
        for name, share in (("translation", self.translation), ("cutout", self.cutout)):
            if not 0 < share < 1:
                raise UsageError(f"technique 'diffaugment': {name} must lie between 0 and 1, got {share}")

    def d_input(self, x: Tensor, *, generator: torch.Generator) -> Tensor:
        """The parts of the policy, one after the other, differentiable in x."""
        need_images("diffaugment", x)
        for part in self.policy.split("+"):
            if part == "color":
                x = jitter(x, generator=generator)
            elif part == "translation":
                x = translate(x, ratio=self.translation, generator=generator)
            else:
                x = cut_out(x, ratio=self.cutout, generator=generator)
        return x


def _uniform(x: Tensor, generator: torch.Generator) -> Tensor:
    """One number in [0, 1) for each image, shape (n, 1, 1, 1)."""
    return torch.rand((len(x), 1, 1, 1), device=x.device, dtype=x.dtype, generator=generator)


def _integers(x: Tensor, low: int, high: int, generator: torch.Generator) -> Tensor:
    """One whole number for each image, `high` included, shape (n,)."""
    return torch.randint(low, high + 1, (len(x),), device=x.device, generator=generator)
