"""ADA: augmentation of everything that D sees, as often as D's overfitting calls for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.techniques._images import Affine, full_precision, need_images, rotation, scaling, translation, warp
from gandiag.techniques.base import Batch, Card, Technique, positive, technique

#: The authors' strengths: shifts as shares of the size, spreads of scales in powers of two, of colours in the data's
#: units.
SHIFT, SCALE, STRETCH, DRIFT = 0.125, 0.2, 0.2, 0.125
BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.5, 1.0

#: The rows of the random numbers, in the order in which they are done.
COINS = (
    *("flip", "quarter", "step", "scale", "turn", "stretch", "turn again", "drift"),
    *("brightness", "contrast", "invert", "hue", "saturation"),
)
EVEN = ("flip", "quarter", "right", "down", "turn", "turn again", "invert", "hue")
NORMAL = ("scale", "stretch", "right", "down", "brightness", "contrast", "saturation")


def adapted(p: Float[Tensor, ""], *, overfitting: Float[Tensor, ""], target: float, change: float) -> Float[Tensor, ""]:
    """`p` moved by `change`, up where `overfitting` is above its target, down where it is below, and not below zero.

    Source: Karras et al. 2020, arXiv:2006.06676, section 3.
    """
    return (p + change * (overfitting - target).sign()).clamp(min=0)


def pixel_map(
    x: Float[Tensor, "n c h w"],
    *,
    on: dict[str, Bool[Tensor, " n"]],
    even: dict[str, Float[Tensor, " n"]],
    normal: dict[str, Float[Tensor, " n"]],
    pipe: str,
) -> Affine:
    """Where each pixel of the augmented image lies in `x`.

    Blitting: a mirror image or not; 0 to 3 quarter turns; whole steps of up to an eighth of the size. Geometry: a
    scale of 2^N(0, 0.2); a turn by any angle; a stretch of 2^N(0, 0.2), its inverse along the other axis; a turn
    again; a shift by N(0, 0.125) of the size. Each is done where its coin is `on`.

    Source: Karras et al. 2020, arXiv:2006.06676, appendix B.
    """
    height, width = x.shape[2:]
    none = x.new_zeros(len(x))

    def if_on(name: str, value: Tensor) -> Tensor:
        return torch.where(on[name], value, none)

    source = translation(none, none)
    if "b" in pipe:
        mirror = 1 - 2 * if_on("flip", (even["flip"] >= 0).to(x.dtype))
        source = source.after(scaling(mirror, none + 1))
        source = source.after(rotation(if_on("quarter", ((even["quarter"] + 1) * 2).floor()) * (math.pi / 2)))
        right, down = (even["right"] * (SHIFT * width)).round(), (even["down"] * (SHIFT * height)).round()
        source = source.after(translation(-if_on("step", right), -if_on("step", down)))
    if "g" in pipe:
        scale = torch.exp2(-if_on("scale", normal["scale"] * SCALE))
        source = source.after(scaling(scale, scale))
        source = source.after(rotation(if_on("turn", even["turn"] * math.pi)))
        stretch = torch.exp2(-if_on("stretch", normal["stretch"] * STRETCH))
        source = source.after(scaling(stretch, 1 / stretch))
        source = source.after(rotation(if_on("turn again", even["turn again"] * math.pi)))
        right, down = normal["right"] * (DRIFT * width), normal["down"] * (DRIFT * height)
        source = source.after(translation(-if_on("drift", right), -if_on("drift", down)))
    return source


def recolored(
    x: Float[Tensor, "n c h w"],
    *,
    on: dict[str, Bool[Tensor, " n"]],
    even: dict[str, Float[Tensor, " n"]],
    normal: dict[str, Float[Tensor, " n"]],
) -> Float[Tensor, "n c h w"]:
    """Other colours, each where its coin is `on`.

    Brightness N(0, 0.2) is added; all is multiplied by 2^N(0, 0.5); lightness is mirrored or not; hue is turned by any
    angle; the distance from grey is multiplied by 2^N(0, 1). A grey image, or one of one channel, stays grey. Hue needs
    three channels; with any other number it stays.

    Source: Karras et al. 2020, arXiv:2006.06676, appendix B.
    """
    none = x.new_zeros(len(x))

    def if_on(name: str, value: Tensor) -> Tensor:
        return torch.where(on[name], value, none).reshape(-1, 1, 1, 1)

    # Each is written so that a coin which is off leaves an image exactly as it is.
    x = x + if_on("brightness", normal["brightness"] * BRIGHTNESS)
    x = x * torch.exp2(if_on("contrast", normal["contrast"] * CONTRAST))
    x = x - 2 * if_on("invert", (even["invert"] >= 0).to(x.dtype)) * x.mean(dim=1, keepdim=True)
    if x.shape[1] == 3:
        angle = if_on("hue", even["hue"] * math.pi)
        grey = x.mean(dim=1, keepdim=True)
        # Rodrigues' formula for a turn around (1, 1, 1) / sqrt(3), whose cross product is a difference of channels.
        cross = (x.roll(1, dims=1) - x.roll(2, dims=1)) / math.sqrt(3)
        x = angle.cos() * x + angle.sin() * cross + (1 - angle.cos()) * grey
    richer = torch.exp2(if_on("saturation", normal["saturation"] * SATURATION)) - 1
    return x + richer * (x - x.mean(dim=1, keepdim=True))


@technique(
    Card(
        name="ada",
        summary="Augments the images that D sees as often as D overfits, which its own outputs on real images tell.",
        treats={"GD201": 0.45, "GD203": 0.2, "GD101": 0.2},
        source="Karras et al. 2020, arXiv:2006.06676, section 3 and appendix B",
        seams=("d_input", "gradients"),
        cost=2.55,
        data=("images",),
        cautions=(
            "for images (n, c, h, w) only, with values about -1 to 1",
            "reads the sign of D's logits on real images, which says nothing under Wasserstein and relativistic losses",
            "quarter turns and mirror images are in it: pipe=c leaves them out where the data have an upright",
            "p rises from zero over hundreds of thousands of images; in a short run little happens",
        ),
        snippet="""\
# augment: AugmentPipe of stylegan2-ada-pytorch, training/augment.py, with the pipe "{pipe}" of its train.py
signs.append(D(augment(x_real)).sign().mean())                # at each of D's steps; D sees augment(x) all over
if step % {interval} == {interval} - 1:
    change = len(x_real) * {interval} / ({kimg} * 1000) * (torch.stack(signs).mean() - {target}).sign()
    augment.p.copy_((augment.p + change).clamp(min=0))
    signs = []""",
    )
)
@dataclass
class ADA(Technique):
    """Adaptive discriminator augmentation.

    Each transformation is done to each image with probability p, in gandiag's own random stream. r = E sign D(x) on
    the augmented real images, taken over `interval` steps of D, tells how far D has overfitted: 0 where it guesses, 1
    where it knows them all.

    Attributes:
        target: the r that p is steered to.
        interval: D's steps from one change of p to the next.
        kimg: thousands of real images in which p can rise from 0 to 1.
        pipe: b for blitting, g for geometry, c for colour.
    """

    reads_logits: ClassVar[bool] = True
    target: float = 0.6
    interval: int = 4
    kimg: float = 500.0
    pipe: str = "bgc"
    _p: Tensor | None = field(default=None, init=False, repr=False)
    _signs: list[Tensor] = field(default_factory=list, init=False, repr=False)
    _images: int = field(default=0, init=False, repr=False)

    def check(self) -> None:
        """Refuse targets, intervals and pipes that mean nothing."""
        positive("ada", interval=self.interval, kimg=self.kimg)
        if not 0 < self.target < 1:
            raise UsageError(f"technique 'ada': target must lie between 0 and 1, got {self.target}")
        if not self.pipe or set(self.pipe) - set("bgc") or len(set(self.pipe)) < len(self.pipe):
            raise UsageError(f"technique 'ada': pipe must be some of the letters b, g and c, got {self.pipe!r}")

    def d_input(self, x: Tensor, *, generator: torch.Generator) -> Tensor:
        """Each transformation with probability p for each image, differentiable in x."""
        need_images("ada", x)
        given, x = x, full_precision(x)
        n, device, dtype = len(x), x.device, x.dtype
        coins = torch.rand((len(COINS), n), device=device, dtype=dtype, generator=generator)
        flat = torch.rand((len(EVEN), n), device=device, dtype=dtype, generator=generator) * 2 - 1
        bell = torch.randn((len(NORMAL), n), device=device, dtype=dtype, generator=generator)
        even, normal = dict(zip(EVEN, flat, strict=True)), dict(zip(NORMAL, bell, strict=True))
        p = self.probability(x)
        # Of two turns at least one is done with probability p.
        either = 1 - (1 - p).clamp(min=0).sqrt()
        on = {name: coin < (either if "turn" in name else p) for name, coin in zip(COINS, coins, strict=True)}
        if "b" in self.pipe or "g" in self.pipe:
            # Nothing is interpolated in an image to which nothing happens; p may be zero for long.
            moved = torch.stack([coin for name, coin in on.items() if name in self._moves()]).any(dim=0)
            source = pixel_map(x, on=on, even=even, normal=normal, pipe=self.pipe)
            x = torch.where(moved.reshape(-1, 1, 1, 1), warp(x, source), x)
        if "c" in self.pipe:
            x = recolored(x, on=on, even=even, normal=normal)
        return x.to(given.dtype)

    def d_loss(self, batch: Batch) -> None:
        """No loss: D's outputs on the real batch are read, and each `interval` batches p is moved."""
        logits = batch.real_logits
        if logits is None:
            with torch.no_grad():
                logits = batch.critic(batch.real)
        self._signs.append(logits.sign().mean())
        self._images += len(batch.real)
        if len(self._signs) == self.interval:
            r = torch.stack(self._signs).mean()
            p = self.probability(batch.real)
            self._p = adapted(p, overfitting=r, target=self.target, change=self._images / (self.kimg * 1000))
            self._signs, self._images = [], 0

    def probability(self, like: Tensor) -> Tensor:
        """P as it stands, 0-dim, on the device of `like`, so that no step has to wait for its value."""
        if self._p is None:
            self._p = like.new_zeros(())
        return self._p

    def _moves(self) -> tuple[str, ...]:
        return COINS[: 3 if "b" in self.pipe else 0] + COINS[3 : 8 if "g" in self.pipe else 3]
