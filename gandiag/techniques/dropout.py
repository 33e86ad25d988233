"""Dropout after the hidden layers of D and of G."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gandiag.errors import UsageError
from gandiag.techniques._layers import Wiring
from gandiag.techniques.base import Card, Inside, Technique, technique


def dropped(x: Float[Tensor, ...], *, p: float, generator: torch.Generator) -> Float[Tensor, ...]:
    """`x` with each element set to zero with probability `p`, the others divided by 1 - p; its mean stays.

    Source: Srivastava et al. 2014, JMLR 15, section 4, in the form of its section 10 that scales while training.
    """
    drop = torch.rand(x.shape, device=x.device, dtype=x.dtype, generator=generator) < p
    return x.masked_fill(drop, 0) / (1 - p)


@technique(
    Card(
        name="dropout",
        summary="Sets a part of D's (and of G's) hidden activations to zero at random while they train.",
        treats={"GD201": 0.3},
        source="Hinton et al. 2012, arXiv:1207.0580; Srivastava et al. 2014, JMLR 15",
        seams=("networks",),
        cost=1.6,
        cautions=(
            "it weakens D: where D is the weaker one already, it harms",
            "a gradient penalty on a D with dropout is one at the slope of a random part of D, and is noisier for it",
        ),
        snippet="""\
h = nn.functional.dropout(h, {d}, self.training)   # in D, after each hidden layer's activation
h = nn.functional.dropout(h, {g}, self.training)   # in G, likewise""",
    )
)
@dataclass
class Dropout(Technique):
    """Dropout on the input of each linear and convolutional layer that another one feeds.

    That is after the activation of each hidden layer, whether the activation is a module or a plain function, and
    after its normalisation, pooling and reshaping, if any.

    Attributes:
        d: the probability for D's activations, in [0, 1). TensorFlow's DCGAN tutorial takes 0.3, CTGAN 0.5.
        g: the same for G's.
    """

    d: float = 0.3
    g: float = 0.0
    _wirings: dict[nn.Module, Wiring] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Refuse what is no probability, and two that do nothing."""
        for key, value in (("d", self.d), ("g", self.g)):
            if not 0 <= value < 1:
                raise UsageError(f"technique 'dropout': {key} must lie in [0, 1), got {value}")
        if self.d == self.g == 0:
            raise UsageError("technique 'dropout': d and g are both 0, and it would do nothing; give one of them")

    def inside(self, net: nn.Module, *, role: str, generator: torch.Generator) -> dict[nn.Module, Inside]:
        """The hidden layers' inputs, in train mode."""
        p = self.d if role == "d" else self.g
        if p == 0:
            return {}
        wiring = self._wirings[net] = Wiring("dropout", net)

        def act(layer: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
            return forward(dropped(x, p=p, generator=generator) if net.training and layer in wiring.fed else x)

        return wiring.layers(act)

    def before(self, net: nn.Module, args: Any, kwargs: Any, run: Callable[..., Any]) -> None:
        """Find out which layers are hidden."""
        if net in self._wirings:
            self._wirings[net].read(args, kwargs, run)
