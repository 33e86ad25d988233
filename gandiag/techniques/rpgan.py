"""RpGAN: the relativistic pairing loss alone, without the penalties of the R3GAN recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gandiag.techniques.base import Batch, Card, Technique, technique
from gandiag.techniques.rpgan_r1_r2 import rpgan_d, rpgan_g


@technique(
    Card(
        name="rpgan",
        summary="Replaces both losses by the relativistic pairing loss: each fake is compared with a real sample.",
        treats={"GD101": 0.4, "GD104": 0.35, "GD105": 0.3, "GD201": 0.35},
        source="Jolicoeur-Martineau 2018, arXiv:1807.00734; Huang et al. 2024 (R3GAN), arXiv:2501.05441, section 2",
        seams=("gradients",),
        cost=2.05,
        cautions=(
            "without a penalty on D's slope it need not converge: turn on r1 and r2 with it, or use rpgan_r1_r2",
            "logits have no zero any more: only their differences mean something",
            "the losses that the script prints no longer say what is trained",
        ),
        conflicts=("label_smoothing",),
        snippet="""\
loss_d = F.softplus(-(D(x_real) - D(x_fake.detach()))).mean()   # logits, before any sigmoid; D's step
loss_g = F.softplus(-(D(G(z)) - D(x_real).detach())).mean()     # G's step""",
    )
)
@dataclass
class RpGAN(Technique):
    """The pairing loss in place of the script's adversarial losses; it has no parameters."""

    takes_over: ClassVar[bool] = True

    def d_loss(self, batch: Batch) -> Tensor:
        """E softplus(-(D(real) - D(fake))), over as many pairs as there are."""
        real, fake = batch.critic(batch.real), batch.critic(batch.fake, like="fake")
        n = min(len(real), len(fake))  # the last batch of an epoch may be smaller
        return rpgan_d(real=real[:n], fake=fake[:n])

    def g_loss(self, batch: Batch) -> Tensor:
        """The same with the roles exchanged."""
        real, fake = batch.critic(batch.real).detach(), batch.critic(batch.fake, like="fake")
        # Fakes beyond the reals' number are paired with the first reals again, so that each gets a gradient.
        repeats = -(-len(fake) // len(real))
        return rpgan_g(real=real.repeat(repeats, *[1] * (real.ndim - 1))[: len(fake)], fake=fake)
