"""Batch normalisation after hidden layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from gandiag.errors import TechniqueRefused
from gandiag.techniques._layers import Wiring, check_role, in_role
from gandiag.techniques.base import Card, Inside, Technique, technique

#: torch's own defaults.
EPSILON, MOMENTUM = 1e-5, 0.1


@dataclass
class Statistics:
    """The running mean and variance of one layer's outputs, for evaluation.

    Attributes:
        mean: shape (c,).
        variance: shape (c,), unbiased.
    """

    mean: Float[Tensor, " c"]
    variance: Float[Tensor, " c"]

    @classmethod
    def like(cls, x: Float[Tensor, "n c ..."]) -> Statistics:
        """Where they start, zero and one, for outputs such as `x`."""
        zeros = torch.zeros(x.shape[1], device=x.device, dtype=x.dtype)
        return cls(zeros, torch.ones_like(zeros))

    def normalise(self, x: Float[Tensor, "n c ..."], *, training: bool) -> Float[Tensor, "n c ..."]:
        """`x` with mean 0 and variance 1 in each channel over the batch, or by the running statistics.

        Source: Ioffe and Szegedy 2015, arXiv:1502.03167, Algorithm 1, before its scale and shift.
        """
        return functional.batch_norm(x, self.mean, self.variance, training=training, momentum=MOMENTUM, eps=EPSILON)


@technique(
    Card(
        name="batch_norm",
        summary="Normalises the outputs of G's (or D's) hidden layers over the batch, as DCGAN does.",
        treats={"GD104": 0.35, "GD201": 0.15},
        source="Radford et al. 2016, arXiv:1511.06434, section 3; Ioffe and Szegedy 2015, arXiv:1502.03167, Alg. 1",
        seams=("networks",),
        cost=1.15,
        cautions=(
            "in D it mixes the samples of a batch: no gradient penalty on D's slope (r1, r2, rpgan_r1_r2, wgan_gp, "
            "wgan_lp, dragan, gradient_penalty) must be on beside role=d",
            "the running statistics for evaluation are not in the script's checkpoints",
            "samples of one batch become alike in their statistics; users report partial collapse of small G's with it",
        ),
        restart=True,
        snippet="""\
self.norm = nn.BatchNorm1d(width)   # BatchNorm2d after convolutions; in: {role}
h = torch.relu(self.norm(self.layer(x)))""",
    )
)
@dataclass
class BatchNorm(Technique):
    """Batch normalisation of each hidden layer's output, with the layer's own bias as the shift.

    Attributes:
        role: in which net: "g", "d" or "both". In G after all layers but the last, in D but the first and the last.
    """

    role: str = "g"
    _wirings: dict[nn.Module, Wiring] = field(default_factory=dict, init=False, repr=False)
    _hidden: dict[nn.Module, set[nn.Module]] = field(default_factory=dict, init=False, repr=False)
    _statistics: dict[nn.Module, Statistics] = field(default_factory=dict, init=False, repr=False)
    _d_nets: set[nn.Module] = field(default_factory=set, init=False, repr=False)
    _tried: set[nn.Module] = field(default_factory=set, init=False, repr=False)

    def check(self) -> None:
        """Refuse roles that are none."""
        check_role("batch_norm", self.role)

    @property
    def couples(self) -> bool | None:
        """Makes D mix samples where it is in D."""
        return None if self.role == "g" else True

    def inside(self, net: nn.Module, *, role: str, generator: torch.Generator) -> dict[nn.Module, Inside]:
        """The hidden layers' outputs."""
        if not in_role(self.role, role):
            return {}
        if any(isinstance(layer, _BatchNorm) for layer in net.modules()):
            raise TechniqueRefused(
                f"batch_norm adds batch normalisation, and {type(net).__name__} holds BatchNorm layers already; "
                "leave it out, or use virtual_batch_norm or layer_norm to change them"
            )
        wiring = self._wirings[net] = Wiring("batch_norm", net)
        hidden: set[nn.Module] = set()
        self._hidden[net] = hidden

        def act(layer: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
            output = forward(x)
            return self._normalised(layer, output, training=net.training) if layer in hidden else output

        if role == "d":
            self._d_nets.add(net)
        return wiring.layers(act)

    def before(self, net: nn.Module, args: Any, kwargs: Any, run: Callable[..., Any]) -> None:
        """Find out which layers are hidden; what the trial has added to the statistics is thrown away."""
        wiring = self._wirings.get(net)
        if wiring is None or net in self._tried:
            return
        if wiring.read(args, kwargs, run):
            self._hidden[net] |= wiring.feeding & wiring.fed if net in self._d_nets else wiring.feeding
            if not self._hidden[net]:
                raise TechniqueRefused(
                    f"batch_norm leaves D's first and last layer alone, and {type(net).__name__} has no other linear "
                    "or convolutional one; use role=g, or spectral_norm"
                )
        else:
            self._tried.add(net)
            for layer in self._hidden[net]:
                self._statistics.pop(layer, None)

    def _normalised(self, layer: nn.Module, output: Tensor, *, training: bool) -> Tensor:
        # A linear layer has its features on the last axis, whatever the others are.
        linear = isinstance(layer, nn.Linear)
        x = output.flatten(0, -2) if linear else output
        if layer not in self._statistics:
            self._statistics[layer] = Statistics.like(x)
        x = self._statistics[layer].normalise(x, training=training)
        bias = layer.bias
        if isinstance(bias, Tensor):
            x = x + bias.view(1, -1, *[1] * (x.ndim - 2))
        return x.view(output.shape) if linear else x
