"""PacGAN: D judges packs of m samples, which shows it a lack of variety at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from gandiag.errors import UsageError
from gandiag.techniques.base import Card, Technique, technique


def pack(x: Float[Tensor, "n ..."], m: int) -> Float[Tensor, "packs m ..."]:
    """Rows in packs of m, shape (ceil(n / m), m, ...); a last, short pack is filled up from the first rows."""
    packs = -(-len(x) // m)
    if packs * m != len(x):
        x = x[torch.arange(packs * m, device=x.device) % len(x)]
    return x.reshape(packs, m, *x.shape[1:])


@technique(
    Card(
        name="pacgan",
        summary="D judges m samples at a time: its first layer sees the whole pack, real or fake.",
        treats={"GD101": 0.8, "GD104": 0.8, "GD105": 0.6, "GD103": 0.3},
        source="Lin et al. 2018, arXiv:1712.04086, section 3",
        seams=("networks",),
        cost=1.1,
        cautions=(
            "the batch size should be divisible by m",
            "the added weights are trained by an optimizer of gandiag's own, like D's; the script's checkpoints lack them",
        ),
        restart=True,
        snippet="""\
# D's first layer takes {m} times as many inputs; the batch goes in as packs:
logits = D(x.view(len(x) // {m}, -1))""",
    )
)
@dataclass
class PacGAN(Technique):
    """PacGAN with packs of m.

    The first layer on a pack (x_1 .. x_m) is W_1 x_1 + ... + W_m x_m: W_1 is the script's own layer, the
    others are new parameters. From there on D runs on n / m rows, and its output is repeated m times, so
    that the script's labels fit; the mean of a loss over repeated rows is its mean over packs.

    Attributes:
        m: samples in a pack, at least 2.
    """

    m: int = 2
    _others: list[nn.Parameter] = field(default_factory=list, init=False, repr=False)
    _stem: nn.Module | None = field(default=None, init=False, repr=False)

    def check(self) -> None:
        """Refuse packs of one."""
        if self.m < 2:
            raise UsageError(f"technique 'pacgan': m must be at least 2, got {self.m}")

    def prepare(self, d: nn.Module, *, stem: nn.Module, head: nn.Module, generator: torch.Generator) -> None:
        """Draw the other m - 1 blocks of the first layer's weight, at the scale of the script's own block."""
        weight = stem.weight
        assert isinstance(weight, Tensor)
        scale = weight.detach().std()
        for _ in range(self.m - 1):
            draw = torch.randn(weight.shape, generator=generator, device=weight.device, dtype=weight.dtype)
            self._others.append(nn.Parameter(draw * scale))
        self._stem = stem

    def extra_parameters(self) -> list[nn.Parameter]:
        """The other blocks."""
        return self._others

    def stem(self, layer: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
        """The first layer on packs; n rows become ceil(n / m)."""
        if layer is not self._stem:
            return forward(x)
        packs = pack(x, self.m)
        output = forward(packs[:, 0])
        for i, weight in enumerate(self._others, start=1):
            output = output + _apply(layer, packs[:, i], weight)
        return output

    def d_output(self, output: Tensor, *, rows: int) -> Tensor:
        """Each pack's output once for each of its samples, shape (rows, ...)."""
        return output.repeat_interleave(self.m, dim=0)[:rows]


def _apply(layer: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return functional.linear(x, weight)
    convolve = {nn.Conv1d: functional.conv1d, nn.Conv2d: functional.conv2d, nn.Conv3d: functional.conv3d}
    for kind, function in convolve.items():
        if isinstance(layer, kind):
            if layer.padding_mode != "zeros":
                break
            return function(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    raise UsageError(
        f"technique 'pacgan' needs a linear or zero-padded convolutional first layer in D, found {type(layer).__name__}"
    )
