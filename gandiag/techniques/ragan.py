"""RaGAN: the relativistic average loss, in which each sample is compared with the mean of the other side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from gandiag.techniques.base import Batch, Card, Technique, technique


def ragan_d(*, real: Float[Tensor, ...], fake: Float[Tensor, ...]) -> Float[Tensor, ""]:
    """D's loss, E softplus(-(D(real) - E D(fake))) + E softplus(D(fake) - E D(real)), 0-dim.

    The relativistic average standard GAN. The two sides may differ in size, as each meets only the other's mean.
    Source: Jolicoeur-Martineau 2018, arXiv:1807.00734, Algorithm 2; her code halves the sum.
    """
    return functional.softplus(-(real - fake.mean())).mean() + functional.softplus(fake - real.mean()).mean()


def ragan_g(*, real: Float[Tensor, ...], fake: Float[Tensor, ...]) -> Float[Tensor, ""]:
    """G's loss, the same with the roles exchanged: the real samples stay in it, 0-dim; same source."""
    return ragan_d(real=fake, fake=real)


@technique(
    Card(
        name="ragan",
        summary="Replaces both losses by the relativistic average loss: real against the mean fake, and the reverse.",
        treats={"GD201": 0.35, "GD203": 0.2, "GD101": 0.2, "GD104": 0.2},
        source="Jolicoeur-Martineau 2018, arXiv:1807.00734, Algorithm 2",
        seams=("gradients",),
        cost=2.3,
        cautions=(
            "the evidence is on sample quality; that it covers more modes is not shown: rpgan_r1_r2 is for that",
            "logits have no zero any more: only their differences mean something",
            "the losses that the script prints no longer say what is trained",
        ),
        conflicts=("label_smoothing",),
        snippet="""\
d_real, d_fake = D(x_real), D(x_fake.detach())                                     # logits; D's step
loss_d = F.softplus(-(d_real - d_fake.mean())).mean() + F.softplus(d_fake - d_real.mean()).mean()
d_real, d_fake = D(x_real).detach(), D(G(z))                                       # G's step
loss_g = F.softplus(-(d_fake - d_real.mean())).mean() + F.softplus(d_real - d_fake.mean()).mean()""",
    )
)
@dataclass
class RaGAN(Technique):
    """The relativistic average loss in place of the script's adversarial losses; it has no parameters."""

    takes_over: ClassVar[bool] = True

    def d_loss(self, batch: Batch) -> Tensor:
        """Real samples above the mean fake, fakes below the mean real."""
        return ragan_d(real=batch.critic(batch.real), fake=batch.critic(batch.fake, like="fake"))

    def g_loss(self, batch: Batch) -> Tensor:
        """Fakes above the mean real, reals below the mean fake."""
        real = batch.critic(batch.real).detach()
        return ragan_g(real=real, fake=batch.critic(batch.fake, like="fake"))
