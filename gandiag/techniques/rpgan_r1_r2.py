"""RpGAN+R1+R2: the relativistic pairing loss with zero-centred penalties on both sides, the R3GAN recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from gandiag.techniques.base import BATCH_COUPLED, Batch, Card, Technique, positive, technique
from gandiag.techniques.r1 import squared_slope


def rpgan_d(*, real: Float[Tensor, ...], fake: Float[Tensor, ...]) -> Float[Tensor, ""]:
    """D's relativistic pairing loss, E softplus(-(D(real) - D(fake))), 0-dim.

    Source: Jolicoeur-Martineau 2018, arXiv:1807.00734; Huang et al. 2024 (R3GAN), arXiv:2501.05441, section 2.
    """
    return functional.softplus(-(real - fake)).mean()


def rpgan_g(*, real: Float[Tensor, ...], fake: Float[Tensor, ...]) -> Float[Tensor, ""]:
    """G's relativistic pairing loss, E softplus(-(D(fake) - D(real))), 0-dim; same source."""
    return functional.softplus(-(fake - real)).mean()


@technique(
    Card(
        name="rpgan_r1_r2",
        summary="Replaces both losses by the relativistic pairing loss, with R1 and R2 penalties on D.",
        treats={
            "GD101": 0.9,
            "GD104": 0.9,
            "GD105": 0.9,
            "GD203": 0.8,
            "GD201": 0.5,
            "GD103": 0.4,
            "GD301": 0.5,
        },
        source="Huang et al. 2024 (R3GAN), arXiv:2501.05441, section 2",
        seams=("gradients",),
        cost=2.4,
        cautions=(
            "replaces the script's adversarial losses: their printed values no longer say what is trained",
            "gamma depends on the data; R3GAN uses 0.05 on CIFAR-10 and 150 at 256x256",
            "needs operations in D that can be differentiated twice",
        ),
        conflicts=("r1", "wgan_gp", "label_smoothing"),
        layers=BATCH_COUPLED,
        snippet="""\
x_real, x_fake = x_real.detach().requires_grad_(), x_fake.detach().requires_grad_()
d_real, d_fake = D(x_real), D(x_fake)                                       # logits, before any sigmoid
r1, = torch.autograd.grad(d_real.sum(), x_real, create_graph=True)
r2, = torch.autograd.grad(d_fake.sum(), x_fake, create_graph=True)
penalty = r1.square().flatten(1).sum(1).mean() + r2.square().flatten(1).sum(1).mean()
loss_d = F.softplus(-(d_real - d_fake)).mean() + {gamma} / 2 * penalty      # D's step
loss_g = F.softplus(-(D(G(z)) - D(x_real).detach())).mean()                 # G's step""",
    )
)
@dataclass
class RpGANR1R2(Technique):
    """RpGAN+R1+R2 in place of the script's adversarial losses.

    Attributes:
        gamma: strength of both penalties, above zero. 0.1 suits data of unit scale in few dimensions.
    """

    takes_over: ClassVar[bool] = True
    gamma: float = 0.1

    def check(self) -> None:
        """Refuse strengths that mean nothing."""
        positive("rpgan_r1_r2", gamma=self.gamma)

    def d_loss(self, batch: Batch) -> Tensor:
        """The pairing loss plus gamma / 2 * (R1 + R2)."""
        n = min(len(batch.real), len(batch.fake))  # the last batch of an epoch may be smaller
        real = batch.real[:n].detach().requires_grad_()
        fake = batch.fake[:n].detach().requires_grad_()
        d_real, d_fake = batch.critic(real), batch.critic(fake, like="fake")
        r1, r2 = squared_slope(d_real, real, pack=batch.pack), squared_slope(d_fake, fake, pack=batch.pack)
        penalty = r1.mean() + r2.mean()
        return rpgan_d(real=d_real, fake=d_fake) + self.gamma / 2 * penalty

    def g_loss(self, batch: Batch) -> Tensor:
        """The pairing loss with the roles exchanged."""
        n = min(len(batch.real), len(batch.fake))
        d_real = batch.critic(batch.real[:n]).detach()
        # Fakes beyond the reals' number are paired with the first reals again, so that each gets a gradient.
        repeats = -(-len(batch.fake) // n)
        d_real = d_real.repeat(repeats, *[1] * (d_real.ndim - 1)) if repeats > 1 else d_real
        d_fake = batch.critic(batch.fake, like="fake")
        return rpgan_g(real=d_real[: len(d_fake)], fake=d_fake)
