"""Layer noise: Gaussian noise on the activations inside G."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gandiag.techniques._layers import Wiring
from gandiag.techniques.base import Card, Inside, Technique, positive, technique


@technique(
    Card(
        name="layer_noise",
        summary="Adds Gaussian noise to the activations of each of G's hidden layers while it trains.",
        treats={"GD104": 0.2, "GD103": 0.2},
        source="advice of practice: Chintala et al. 2016, github.com/soumith/ganhacks, section 13",
        seams=("networks",),
        cost=1.25,
        cautions=(
            "the evidence is thin",
            "G in eval mode makes samples without it, which vary less than those that D has seen",
            "std is in the units of the activations: what is little in one net may drown another",
        ),
        snippet="""\
h = h + {std} * torch.randn_like(h)   # in G, after each hidden layer's activation, while self.training""",
    )
)
@dataclass
class LayerNoise(Technique):
    """Noise on the input of each of G's linear and convolutional layers that another one feeds.

    Attributes:
        std: its standard deviation, above zero. 0.1 is a judgement: a tenth of what a normalised layer puts out.
    """

    std: float = 0.1
    _wirings: dict[nn.Module, Wiring] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Refuse strengths that mean nothing."""
        positive("layer_noise", std=self.std)

    def inside(self, net: nn.Module, *, role: str, generator: torch.Generator) -> dict[nn.Module, Inside]:
        """The hidden layers' inputs, in train mode."""
        if role != "g":
            return {}
        wiring = self._wirings[net] = Wiring("layer_noise", net)

        def act(layer: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
            if net.training and layer in wiring.fed:
                x = x + self.std * torch.randn(x.shape, device=x.device, dtype=x.dtype, generator=generator)
            return forward(x)

        return wiring.layers(act)

    def before(self, net: nn.Module, args: Any, kwargs: Any, run: Callable[..., Any]) -> None:
        """Find out which layers are hidden."""
        if net in self._wirings:
            self._wirings[net].read(args, kwargs, run)
