"""Instance noise: Gaussian noise on everything that D sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gandiag.techniques.base import Card, Technique, positive, technique


@technique(
    Card(
        name="instance_noise",
        summary="Adds Gaussian noise to D's input, real and fake alike, in both phases.",
        treats={"GD201": 0.6, "GD203": 0.3, "GD105": 0.25},
        source="Sønderby et al. 2016, arXiv:1610.04490; Arjovsky and Bottou 2017, arXiv:1701.04862",
        seams=("d_input",),
        cost=1.02,
        cautions=("blurs modes that are narrower than std", "the paper anneals it to zero; here it is constant"),
        snippet="D(x + {std} * torch.randn_like(x))   # for each x that D sees while training",
    )
)
@dataclass
class InstanceNoise(Technique):
    """Constant Gaussian noise on D's input.

    Attributes:
        std: its standard deviation in the data's units, above zero.
    """

    std: float = 0.1

    def check(self) -> None:
        """Refuse strengths that mean nothing."""
        positive("instance_noise", std=self.std)

    def d_input(self, x: Tensor, *, generator: torch.Generator) -> Tensor:
        """`x` plus noise, differentiable in x."""
        return x + self.std * torch.randn(x.shape, device=x.device, dtype=x.dtype, generator=generator)
