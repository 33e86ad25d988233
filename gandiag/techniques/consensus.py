"""Consensus optimisation: both players also go down the squared length of the game's gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gandiag.techniques.base import Card, Latent, Technique, positive, technique


@technique(
    Card(
        name="consensus",
        summary="Adds the squared length of both players' gradients to both losses.",
        treats={"GD203": 0.5, "GD105": 0.3},
        source="Mescheder et al. 2017, arXiv:1705.10461, Eq. 12",
        seams=("gradients",),
        cost=4.5,
        cautions=(
            "it is drawn to any point where gradients are small, the bad ones included",
            "needs operations in both nets that can be differentiated twice",
        ),
        # Its own fakes would reach D without what these do to the script's.
        conflicts=("unrolled", "instance_noise", "augment", "diffaugment", "ada"),
        snippet="""\
def length():                                                      # d_loss and g_loss: your own losses
    fake = G(z)
    of_d = torch.autograd.grad(d_loss(D(x_real), D(fake)), D.parameters(), create_graph=True)
    of_g = torch.autograd.grad(g_loss(D(fake)), G.parameters(), create_graph=True)
    return sum(slope.square().sum() for slope in (*of_d, *of_g)) / 2
loss_d = loss_d + {gamma} * length()                               # before loss_d.backward()
loss_g = loss_g + {gamma} * length()                               # before loss_g.backward(), after D's step""",
    )
)
@dataclass
class Consensus(Technique):
    """Consensus optimisation, each player at its own step.

    Attributes:
        gamma: strength, above zero; 10 in the paper, 0.1 in its authors' later code.
    """

    reads_own_loss: ClassVar[bool] = True
    asks_d: ClassVar[bool] = True
    one_d: ClassVar[bool] = True
    gamma: float = 0.1

    def check(self) -> None:
        """Refuse strengths that mean nothing."""
        positive("consensus", gamma=self.gamma)

    def d_term(self, latent: Latent) -> Tensor | None:
        """`gamma` / 2 * the squared length, as a loss of D's weights."""
        return self._length(latent)

    def g_term(self, latent: Latent) -> Tensor | None:
        """The same as a loss of G's weights."""
        return self._length(latent)

    def _length(self, latent: Latent) -> Tensor | None:
        if latent.critic is None or latent.real is None or not latent.own.known_of_g:
            return None
        own, critic = latent.own, latent.critic
        d_real, d_fake = critic(latent.real), critic(latent.make(latent.z), like="fake")
        loss_d, loss_g = own.real(d_real).mean() + own.fake(d_fake).mean(), own.g(d_fake).mean()
        of_d = torch.autograd.grad(
            loss_d, list(critic.parameters().values()), create_graph=True, materialize_grads=True
        )
        of_g = torch.autograd.grad(
            loss_g, list(latent.make.parameters().values()), create_graph=True, materialize_grads=True
        )
        return self.gamma / 2 * torch.stack([slope.square().sum() for slope in (*of_d, *of_g)]).sum()
