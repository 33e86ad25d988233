"""Unrolled GAN: G learns from the D that D would be some steps from now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gandiag.techniques.base import Batch, Card, Technique, positive, technique


@technique(
    Card(
        name="unrolled",
        summary="G learns from the D that D would become in the next few steps, and through those steps.",
        treats={"GD101": 0.6, "GD104": 0.6, "GD203": 0.6, "GD105": 0.45},
        source="Metz et al. 2017, arXiv:1611.02163, Eq. 7 to 10",
        seams=("gradients",),
        cost=6.1,
        cautions=(
            "a step of G costs as many double backward passes through D as there are steps, in time and in memory",
            "the steps are plain gradient descent, Eq. 7; the paper's experiments unroll D's Adam, which moves farther",
            "needs operations in D that can be differentiated twice",
        ),
        conflicts=("spectral_norm", "spectral_regularisation"),
        snippet="""\
weights = dict(D.named_parameters())
for _ in range({k}):
    d_real, d_fake = (torch.func.functional_call(D, weights, (x,)) for x in (x_real, x_fake))
    slopes = torch.autograd.grad(d_loss(d_real, d_fake), list(weights.values()), create_graph=True)
    weights = dict(zip(weights, [w - {lr} * s for w, s in zip(weights.values(), slopes)]))
loss_g = g_loss(torch.func.functional_call(D, weights, (x_fake,)))       # d_loss and g_loss: your own losses""",
    )
)
@dataclass
class Unrolled(Technique):
    """Unrolled D in G's step; D's own step is the script's.

    Attributes:
        k: D's steps that are unrolled, above zero; 5 to 10 in the paper.
        lr: rate of these steps, above zero.
    """

    takes_over: ClassVar[bool] = True
    reads_own_loss: ClassVar[bool] = True
    k: int = 5
    lr: float = 0.1

    def check(self) -> None:
        """Refuse numbers of steps and rates that mean nothing."""
        positive("unrolled", k=self.k, lr=self.lr)

    def g_loss(self, batch: Batch) -> Tensor:
        """The script's loss of G, by the unrolled D."""
        weights: dict[str, Tensor] = {
            name: p.detach().requires_grad_() for name, p in batch.critic.parameters().items()
        }
        for _ in range(self.k):
            real = batch.own.real(batch.critic(batch.real, weights=weights)).mean()
            fake = batch.own.fake(batch.critic(batch.fake, like="fake", weights=weights)).mean()
            slopes = torch.autograd.grad(real + fake, list(weights.values()), create_graph=True, materialize_grads=True)
            weights = {name: w - self.lr * s for (name, w), s in zip(weights.items(), slopes, strict=True)}
        return batch.own.g(batch.critic(batch.fake, like="fake", weights=weights)).mean()
