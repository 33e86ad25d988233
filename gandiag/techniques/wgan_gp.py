"""WGAN-GP: the Wasserstein loss with a two-sided gradient penalty between real and fake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from gandiag.techniques.base import BATCH_COUPLED, Batch, Card, Technique, positive, technique
from gandiag.techniques.r1 import squared_slope

#: Under the square root: the gradient of a norm at zero is NaN, and D's slope is exactly zero where it is dead.
EPSILON = 1e-12


def slope_distance(logits: Float[Tensor, ...], x: Float[Tensor, "n ..."], *, pack: int = 1) -> Float[Tensor, " packs"]:
    """(|dD/dx| - 1)^2 at each sample (or pack of samples), shape (ceil(n / pack),); still differentiable.

    Source: Gulrajani et al. 2017, arXiv:1704.00028, Eq. 3, without its factor lambda.
    """
    return ((squared_slope(logits, x, pack=pack) + EPSILON).sqrt() - 1).square()


def between(
    *, real: Float[Tensor, "n ..."], fake: Float[Tensor, "m ..."], generator: torch.Generator
) -> Float[Tensor, "k ..."]:
    """Random points on the lines from real samples to fake ones, k = min(n, m) of them, requiring a gradient.

    a * real + (1 - a) * fake with a uniform in [0, 1), one for each pair.
    Source: Gulrajani et al. 2017, arXiv:1704.00028, Algorithm 1.

    Args:
        real: the real samples.
        fake: the fake ones; where there are more of one than of the other, the rest is left out.
        generator: gandiag's own random stream.
    """
    n = min(len(real), len(fake))
    shape = (n, *[1] * (real.ndim - 1))
    share = torch.rand(shape, device=real.device, dtype=real.dtype, generator=generator)
    return (share * real[:n] + (1 - share) * fake[:n]).detach().requires_grad_()


@technique(
    Card(
        name="wgan_gp",
        summary="Replaces both losses by the Wasserstein loss, with a gradient penalty on D between real and fake.",
        treats={"GD201": 0.45, "GD301": 0.5, "GD101": 0.4, "GD104": 0.5, "GD105": 0.4, "GD203": 0.4},
        source="Gulrajani et al. 2017, arXiv:1704.00028, Eq. 3",
        seams=("gradients",),
        cost=2.4,
        cautions=(
            "with one D step for each G step the critic may be too far from optimal; the paper takes five",
            "the losses that the script prints no longer say what is trained",
        ),
        conflicts=("r1", "rpgan_r1_r2", "label_smoothing"),
        layers=BATCH_COUPLED,
        snippet="""\
a = torch.rand(len(x_real), *[1] * (x_real.ndim - 1), device=x_real.device)
x_mix = (a * x_real + (1 - a) * x_fake.detach()).requires_grad_()
slope, = torch.autograd.grad(D(x_mix).sum(), x_mix, create_graph=True)      # D's logits, before any sigmoid
penalty = ((slope.square().flatten(1).sum(1) + 1e-12).sqrt() - 1).square().mean()
loss_d = D(x_fake.detach()).mean() - D(x_real).mean() + {lam} * penalty     # D's step
loss_g = -D(G(z)).mean()                                                    # G's step""",
    )
)
@dataclass
class WganGP(Technique):
    """WGAN-GP in place of the script's adversarial losses.

    Attributes:
        lam: strength of the penalty, above zero: 10 for images, 0.1 for 2-D toys (the authors' own code).
    """

    takes_over: ClassVar[bool] = True
    lam: float = 10.0

    def check(self) -> None:
        """Refuse strengths that mean nothing."""
        positive("wgan_gp", lam=self.lam)

    def d_loss(self, batch: Batch) -> Tensor:
        """E D(fake) - E D(real) + lam * E (|dD/dx| - 1)^2 at random mixtures of real and fake."""
        n = min(len(batch.real), len(batch.fake))
        real, fake = batch.real[:n], batch.fake[:n]
        mixed = between(real=real, fake=fake, generator=batch.generator)
        penalty = slope_distance(batch.critic(mixed), mixed, pack=batch.pack).mean()
        return batch.critic(fake, like="fake").mean() - batch.critic(real).mean() + self.lam * penalty

    def g_loss(self, batch: Batch) -> Tensor:
        """-E D(fake)."""
        return -batch.critic(batch.fake, like="fake").mean()
