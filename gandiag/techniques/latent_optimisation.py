"""Latent optimisation: G is given latents that D already finds a little more real."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.techniques.base import Card, Latent, Technique, positive, technique


def natural_step(slope: Float[Tensor, "n ..."], *, alpha: float, beta: float) -> Float[Tensor, "n ..."]:
    """`α g / (β + |g|²)` of each sample, the norm over all its elements.

    Source: Wu et al. 2019, arXiv:1912.00953, Eq. 10 (natural gradient descent on the latents).
    """
    power = slope.flatten(1).square().sum(dim=1).view(-1, *[1] * (slope.ndim - 1))
    return alpha * slope / (beta + power)


@technique(
    Card(
        name="latent_optimisation",
        summary="Moves G's latents one step up D's slope before G is called (LOGAN).",
        treats={"GD203": 0.35, "GD105": 0.25, "GD101": 0.2},
        source="Wu et al. 2019, arXiv:1912.00953, Eq. 10",
        seams=("networks",),
        cost=1.5,
        cautions=(
            "no gradient flows through the step itself, which the paper has: where a script draws its fakes before D's "
            "step, as most do, that graph would be of weights that are gone",
            "samples drawn later from plain latents are a little worse than those of training",
        ),
        snippet="""\
z_seen = z.detach().requires_grad_()
slope, = torch.autograd.grad(D(G(z_seen)).sum(), z_seen)                       # of D's logits
step = {alpha} * slope / ({beta} + slope.flatten(1).square().sum(1).view(-1, *[1] * (z.ndim - 1)))
z = torch.where(torch.rand(len(z)).view(-1, *[1] * (z.ndim - 1)) < {rate}, (z + step).clamp(-{bound}, {bound}), z)""",
    )
)
@dataclass
class LatentOptimisation(Technique):
    """Latent optimisation by one natural-gradient step, without the gradient through the step.

    Attributes:
        alpha: length of the step, above 0; 0.9 in the paper.
        beta: damping, above 0; 5 in the paper for BigGAN, 0.1 in PyTorch-StudioGAN for smaller nets.
        rate: share of the latents that are moved, in (0, 1]; 0.8 in the paper.
        bound: latents are kept between -bound and bound after the step, above 0. The paper's are uniform in [-1, 1];
            3 suits normal ones.
    """

    asks_d: ClassVar[bool] = True
    one_d: ClassVar[bool] = True
    alpha: float = 0.9
    beta: float = 0.1
    rate: float = 0.8
    bound: float = 3.0

    def check(self) -> None:
        """Refuse steps that mean nothing."""
        positive("latent_optimisation", alpha=self.alpha, beta=self.beta, bound=self.bound)
        if not 0 < self.rate <= 1:
            raise UsageError(f"technique 'latent_optimisation': rate must lie in (0, 1], got {self.rate}")

    def g_input(self, latent: Latent) -> Tensor:
        """The moved latents; the script's own as long as D has not been seen at work."""
        if latent.critic is None:
            return latent.z
        with torch.enable_grad():
            z = latent.z.detach().requires_grad_()
            (slope,) = torch.autograd.grad(latent.critic(latent.make(z), like="fake").sum(), z)
        moved = (latent.z + natural_step(slope, alpha=self.alpha, beta=self.beta)).clamp(-self.bound, self.bound)
        chosen = torch.rand(len(z), device=z.device, generator=latent.generator) < self.rate
        return torch.where(chosen.view(-1, *[1] * (z.ndim - 1)), moved, latent.z)
