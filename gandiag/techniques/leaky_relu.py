"""Leaky ReLU: D's dead activations let a little through."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques._layers import check_role, in_role
from gandiag.techniques.base import Card, Inside, Technique, technique


@technique(
    Card(
        name="leaky_relu",
        summary="Makes D's ReLU layers leaky, so that gradients reach G through inactive units too.",
        treats={"GD201": 0.3},
        source="Radford et al. 2016, arXiv:1511.06434, section 3; Maas et al. 2013, ICML workshop",
        seams=("networks",),
        cost=1.1,
        cautions=("only nn.ReLU modules are seen; relu written as a plain function is not",),
        restart=True,
        snippet="""\
self.activation = nn.LeakyReLU({slope})   # in place of nn.ReLU(), in: {role}""",
    )
)
@dataclass
class LeakyReLU(Technique):
    """nn.ReLU modules behave as nn.LeakyReLU.

    Attributes:
        slope: below zero, in (0, 1). 0.2 is DCGAN's.
        role: in which net: "d", "g" or "both".
    """

    slope: float = 0.2
    role: str = "d"

    def check(self) -> None:
        """Refuse slopes that make it no leaky ReLU."""
        check_role("leaky_relu", self.role)
        if not 0 < self.slope < 1:
            raise UsageError(f"technique 'leaky_relu': slope must lie between 0 and 1, got {self.slope}")

    def inside(self, net: nn.Module, *, role: str, generator: torch.Generator) -> dict[nn.Module, Inside]:
        """The ReLU modules."""
        if not in_role(self.role, role):
            return {}
        found = [layer for layer in net.modules() if isinstance(layer, nn.ReLU)]
        if not found:
            raise TechniqueRefused(
                f"leaky_relu changes nn.ReLU modules, and {type(net).__name__} holds none: its activations are others, "
                "or plain functions (torch.relu, x.relu()), which cannot be seen from outside; write leaky_relu into "
                "the script"
            )
        return dict.fromkeys(found, lambda x, forward: functional.leaky_relu(x, self.slope))
