"""Virtual batch normalisation: each sample beside one fixed batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gandiag.techniques._layers import batch_norms, check_role, detached, in_role
from gandiag.techniques.base import Card, Inside, Technique, technique


@dataclass(frozen=True)
class Moments:
    """Of a layer's inputs for the reference batch.

    Attributes:
        mean: shape (1, c, 1, ...), over samples and places.
        square: the mean of squares, likewise.
        rows: of the reference batch.
    """

    mean: Tensor
    square: Tensor
    rows: int

    @classmethod
    def of(cls, x: Float[Tensor, "n c ..."]) -> Moments:
        """Of the reference batch itself."""
        over = [0, *range(2, x.ndim)]
        return cls(x.mean(over, keepdim=True), x.square().mean(over, keepdim=True), len(x))

    def with_each(self, x: Float[Tensor, "n c ..."]) -> Moments:
        """Those of n batches, each the reference batch and one sample of `x`; shape (n, c, 1, ...)."""
        over, share = list(range(2, x.ndim)), 1 / (self.rows + 1)
        mean, square = (x.mean(over, keepdim=True), x.square().mean(over, keepdim=True)) if over else (x, x.square())
        return Moments(
            share * mean + (1 - share) * self.mean, share * square + (1 - share) * self.square, self.rows + 1
        )

    def normalise(self, x: Float[Tensor, "n c ..."], norm: _BatchNorm) -> Float[Tensor, "n c ..."]:
        """`x` with these moments taken off, then the batch norm's own scale and shift."""
        # The difference of two close numbers may be rounded to below zero.
        variance = (self.square - self.mean.square()).clamp_min(0)
        x = (x - self.mean) / (variance + norm.eps).sqrt()
        if not norm.affine:
            return x
        shape = (1, -1, *[1] * (x.ndim - 2))
        return x * norm.weight.view(shape) + norm.bias.view(shape)


@technique(
    Card(
        name="virtual_batch_norm",
        summary="Makes batch normalisation use one fixed reference batch, so that samples of a batch are independent.",
        treats={"GD203": 0.25, "GD104": 0.2},
        source="Salimans et al. 2016, arXiv:1606.03498, section 3.5",
        seams=("networks",),
        cost=1.4,
        cautions=(
            "each forward takes another one on the reference batch",
            "the reference batch is not in the script's checkpoints, and a net without it is another one",
            "the running statistics in the script's checkpoints are no longer used",
        ),
        conflicts=("layer_norm", "instance_norm"),
        restart=True,
        snippet="""\
x, ref = (t.reshape(*t.shape[:2], -1) for t in (h, reference))   # reference: this layer's inputs for one fixed batch
share = 1 / (len(ref) + 1)
m = share * x.mean(2, keepdim=True) + (1 - share) * ref.mean((0, 2), keepdim=True)
s = share * x.square().mean(2, keepdim=True) + (1 - share) * ref.square().mean((0, 2), keepdim=True)
x = (x - m) / (s - m**2 + self.norm.eps).sqrt() * self.norm.weight[:, None] + self.norm.bias[:, None]
h = x.reshape(h.shape)   # in: {role}""",
    )
)
@dataclass
class VirtualBatchNorm(Technique):
    """BatchNorm layers normalise each sample with the moments of the reference batch and that sample.

    Attributes:
        role: in which net: "d", "g" or "both". The paper uses it in G alone, as it costs a second forward.
    """

    role: str = "g"
    _references: dict[nn.Module, tuple[Any, Any] | None] = field(default_factory=dict, init=False, repr=False)
    _moments: dict[nn.Module, Moments] = field(default_factory=dict, init=False, repr=False)
    _looking: bool = field(default=False, init=False, repr=False)

    def check(self) -> None:
        """Refuse roles that are none."""
        check_role("virtual_batch_norm", self.role)

    @property
    def couples(self) -> bool | None:
        """Takes it out where it is in D."""
        return None if self.role == "g" else False

    def inside(self, net: nn.Module, *, role: str, generator: torch.Generator) -> dict[nn.Module, Inside]:
        """The BatchNorm layers."""
        if not in_role(self.role, role):
            return {}
        self._references[net] = None
        return {norm: self._instead_of(norm) for norm in batch_norms("virtual_batch_norm", net)}

    def before(self, net: nn.Module, args: Any, kwargs: Any, run: Callable[..., Any]) -> None:
        """The reference batch once more, with the weights of now; its gradient flows too."""
        if net not in self._references:
            return
        reference = self._references[net]
        if reference is None:
            # A copy made outside inference mode: the first batch may be one that no graph can hold.
            with torch.inference_mode(False):
                reference = self._references[net] = detached(args), detached(kwargs)
        device = next(net.parameters()).device
        self._looking = True
        try:
            # Dropout in the net draws from the script's stream, which must be where it is without this forward.
            with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
                run(*reference[0], **reference[1])
        finally:
            self._looking = False

    def _instead_of(self, norm: _BatchNorm) -> Inside:
        def act(x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
            # Before there is a reference, in another technique's look at the net, the batch is its own.
            if self._looking or norm not in self._moments:
                moments = Moments.of(x)
                if self._looking:
                    self._moments[norm] = moments
                return moments.normalise(x, norm)
            return self._moments[norm].with_each(x).normalise(x, norm)

        return act
