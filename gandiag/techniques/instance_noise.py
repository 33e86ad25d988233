"""Instance noise: Gaussian noise on everything that D sees."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gandiag.errors import UsageError
from gandiag.techniques.base import Card, Technique, positive, technique


@technique(
    Card(
        name="instance_noise",
        summary="Adds Gaussian noise to D's input, real and fake alike, in both phases.",
        treats={"GD201": 0.6, "GD203": 0.3, "GD105": 0.25},
        source="Sønderby et al. 2016, arXiv:1610.04490; Arjovsky and Bottou 2017, arXiv:1701.04862",
        seams=("d_input",),
        cost=1.05,
        cautions=(
            "blurs modes that are narrower than std",
            "the paper anneals it to zero; here it is constant unless anneal says in how many of D's steps",
        ),
        snippet="""\
std = {std} * max(0, 1 - step / ({anneal} or math.inf))   # step: how many D has made
D(x + std * torch.randn_like(x))                       # for each x that D sees while training""",
    )
)
@dataclass
class InstanceNoise(Technique):
    """Gaussian noise on D's input, constant or falling linearly to zero.

    Attributes:
        std: its standard deviation in the data's units, above zero; with `anneal`, that of the start.
        anneal: after how many of D's steps there is no noise any more; 0 keeps it constant.
    """

    std: float = 0.1
    anneal: int = 0
    _step: int = field(default=0, init=False, repr=False)

    def check(self) -> None:
        """Refuse strengths and spans that mean nothing."""
        positive("instance_noise", std=self.std)
        if self.anneal < 0:
            raise UsageError(f"technique 'instance_noise': anneal must not be below zero, got {self.anneal}")

    def d_input(self, x: Tensor, *, generator: torch.Generator) -> Tensor:
        """`x` plus noise, differentiable in x; once the noise has faded nothing is drawn."""
        std = self.std * max(0.0, 1 - self._step / self.anneal) if self.anneal else self.std
        if std == 0:
            return x
        return x + std * torch.randn(x.shape, device=x.device, dtype=x.dtype, generator=generator)

    def after_d_step(self, d_nets: list[nn.Module]) -> None:
        """D's steps are the clock: however many forwards a step has, they get noise of one strength."""
        self._step += 1
