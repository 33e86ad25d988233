"""bCR: balanced consistency regularisation, D shall judge an image and its augmentation alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.techniques._images import move, need_images
from gandiag.techniques.base import Batch, Card, Technique, technique


def flip_and_shift(
    x: Float[Tensor, "n c h w"], *, ratio: float, generator: torch.Generator
) -> Float[Tensor, "n c h w"]:
    """Each image mirrored or not, then moved by up to `ratio` of its size in whole pixels, mirrored at the edge."""
    n, height, width = len(x), *x.shape[2:]
    mirror = torch.rand(n, device=x.device, dtype=x.dtype, generator=generator) < 0.5
    down, right = (
        torch.randint(-int(size * ratio), int(size * ratio) + 1, (n,), device=x.device, generator=generator)
        for size in (height, width)
    )
    return move(torch.where(mirror.reshape(-1, 1, 1, 1), x.flip(3), x), down=down, right=right, mirror=True)


def inconsistency(logits: Float[Tensor, ...], changed: Float[Tensor, ...]) -> Float[Tensor, ""]:
    """E (D(x) - D(T(x)))^2, 0-dim; both sides get its gradient.

    Source: Zhao et al. 2021, arXiv:2002.04724; that both sides are pulled: StudioGAN, src/worker.py.
    """
    return (logits - changed).square().mean()


@technique(
    Card(
        name="bcr",
        summary="Adds to D's loss how differently it judges an image and the same one flipped and moved.",
        treats={"GD201": 0.35, "GD203": 0.25, "GD101": 0.2},
        source="Zhao et al. 2021, arXiv:2002.04724",
        seams=("gradients",),
        cost=2.4,
        data=("images",),
        cautions=(
            "for images (n, c, h, w) only",
            "four more forwards of D at each of its steps",
            "D is made blind to left and right: with real=0 or fake=0, or a strong weight, mirror images leak into G",
        ),
        snippet="""\
def moved(x, by={shift}):                                   # T: flipped or not, moved by up to an eighth
    h, w = int(x.shape[2] * by), int(x.shape[3] * by)
    padded = F.pad(x, (w, w, h, h), mode="reflect")
    tops, lefts = torch.randint(2 * h + 1, (len(x),)), torch.randint(2 * w + 1, (len(x),))
    images = [p[:, i:i + x.shape[2], j:j + x.shape[3]] for p, i, j in zip(padded, tops, lefts)]
    return torch.stack([image.flip(2) if torch.rand(()) < 0.5 else image for image in images])

x_fake = x_fake.detach()
loss_d = loss_d + {real} * (D(x_real) - D(moved(x_real))).square().mean()   # D's logits, before any sigmoid
loss_d = loss_d + {fake} * (D(x_fake) - D(moved(x_fake))).square().mean()""",
    )
)
@dataclass
class BCR(Technique):
    """Balanced consistency regularisation, added to the script's own loss of D.

    Attributes:
        real: the weight on real images, lambda_real; 10 is StudioGAN's.
        fake: the weight on generated images; 0 is the older CR-GAN, which lets augmentations leak.
        shift: how far images are moved at most, as a share of their size.
    """

    real: float = 10.0
    fake: float = 10.0
    shift: float = 0.125

    def check(self) -> None:
        """Refuse weights and shifts that mean nothing."""
        for name, value in (("real", self.real), ("fake", self.fake)):
            if not 0 <= value < float("inf"):
                raise UsageError(f"technique 'bcr': {name} must not be below zero, got {value}")
        if self.real == self.fake == 0:
            raise UsageError("technique 'bcr': both weights are 0, which adds nothing; raise one of them")
        if not 0 <= self.shift < 1:
            raise UsageError(f"technique 'bcr': shift must be a share of the size, from 0 to below 1, got {self.shift}")

    def d_input(self, x: Tensor, *, generator: torch.Generator) -> Tensor:
        """`x` itself; data that are no images are refused here, before any net has made a step."""
        need_images("bcr", x)
        return x

    def d_loss(self, batch: Batch) -> Tensor:
        """The weighted squared differences on both batches."""
        loss = batch.real.new_zeros(())
        for x, like, weight in ((batch.real, "real", self.real), (batch.fake, "fake", self.fake)):
            if weight:
                changed = flip_and_shift(x, ratio=self.shift, generator=batch.generator)
                loss = loss + weight * inconsistency(batch.critic(x, like=like), batch.critic(changed, like=like))
        return loss
