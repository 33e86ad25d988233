"""WGAN: the Wasserstein loss, with D's weights clipped into a box after each of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gandiag.techniques.base import Batch, Card, Technique, positive, technique


def wasserstein_d(*, real: Float[Tensor, ...], fake: Float[Tensor, ...]) -> Float[Tensor, ""]:
    """The critic's loss, E D(fake) - E D(real), 0-dim; the two sides may differ in size.

    Source: Arjovsky et al. 2017, arXiv:1701.07875, Algorithm 1.
    """
    return fake.mean() - real.mean()


def clamp_weights(nets: list[nn.Module], *, c: float) -> None:
    """Clamp every parameter of the nets to [-c, c], in place; same source."""
    with torch.no_grad():
        for net in nets:
            for p in net.parameters():
                p.clamp_(-c, c)


@technique(
    Card(
        name="wgan",
        summary="Replaces both losses by the Wasserstein loss, and clips D's weights to [-c, c] after each D step.",
        treats={"GD201": 0.35, "GD104": 0.3, "GD101": 0.2, "GD203": 0.2},
        source="Arjovsky et al. 2017, arXiv:1701.07875, Algorithm 1",
        seams=("gradients", "after_step"),
        cost=1.45,
        cautions=(
            "clipping is a poor bound: it makes D simple and its gradients tiny or huge; wgan_gp has replaced it",
            "the paper takes five D steps for each of G's, and RMSprop at 5e-5: momentum, Adam's too, is unstable here",
            "the losses that the script prints no longer say what is trained",
        ),
        # Weights that another technique adds beside D's own would stay outside the box.
        conflicts=("spectral_norm", "pacgan", "minibatch_discrimination", "minibatch_stddev", "label_smoothing"),
        snippet="""\
loss_d = D(x_fake.detach()).mean() - D(x_real).mean()   # D's output before any sigmoid; D's step
loss_g = -D(G(z)).mean()                                # G's step
with torch.no_grad():                                   # after each optimizer_d.step()
    for p in D.parameters():
        p.clamp_(-{c}, {c})""",
    )
)
@dataclass
class WGAN(Technique):
    """WGAN with weight clipping in place of the script's adversarial losses.

    Attributes:
        c: every weight of D stays in [-c, c]; above zero, 0.01 is the paper's.
    """

    takes_over: ClassVar[bool] = True
    c: float = 0.01

    def check(self) -> None:
        """Refuse boxes that hold nothing."""
        positive("wgan", c=self.c)

    def d_loss(self, batch: Batch) -> Tensor:
        """E D(fake) - E D(real)."""
        return wasserstein_d(real=batch.critic(batch.real), fake=batch.critic(batch.fake, like="fake"))

    def g_loss(self, batch: Batch) -> Tensor:
        """-E D(fake)."""
        return -batch.critic(batch.fake, like="fake").mean()

    def loss_at(self, logits: Tensor, *, side: str, weight: Tensor) -> Tensor:
        """The mean of l for fake samples in D's step, of -l else."""
        return logits.mean() if side == "fake" else -logits.mean()

    def after_d_step(self, d_nets: list[nn.Module]) -> None:
        """Clip all of D's weights, biases and norm layers' included, as the authors' code does."""
        clamp_weights(d_nets, c=self.c)
