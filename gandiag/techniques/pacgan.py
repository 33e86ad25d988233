"""PacGAN: D judges packs of m samples, which shows it a lack of variety at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques.base import Beside, Card, Ends, Technique, own_weight, technique


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
        source="Lin et al. 2018, arXiv:1712.04086",
        seams=("networks",),
        cost=1.25,
        cautions=(
            "clipping that the script does itself, of weights (WGAN) or gradients, does not reach the added weights",
            "the batch size should be divisible by m",
            "the added weights have an optimizer of gandiag's own, set as D's is; the script's checkpoints lack them",
        ),
        restart=True,
        snippet="""\
# D's first layer takes {m} times as many inputs, or channels; the batch goes in as packs:
logits = D(x.reshape(len(x) // {m}, -1, *x.shape[2:]))""",
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
    _beside: Beside = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Refuse packs of one."""
        if self.m < 2:
            raise UsageError(f"technique 'pacgan': m must be at least 2, got {self.m}")

    @property
    def pack(self) -> int:
        """So many samples does D judge at a time."""
        return self.m

    def widen(self, ends: Ends, *, generator: torch.Generator) -> None:
        """Draw the other m - 1 blocks of the first layer's weight, at the scale of the script's own block."""
        weight = own_weight("pacgan", ends.stem)
        scale = weight.detach().std()
        self._beside[ends.stem] = [
            _alike(
                ends.stem,
                scale * torch.randn(weight.shape, generator=generator, device=weight.device, dtype=weight.dtype),
            )
            for _ in range(self.m - 1)
        ]

    def added(self) -> dict[nn.Module, list[nn.Parameter]]:
        """The other blocks."""
        return {stem: [p for layer in layers for p in layer.parameters()] for stem, layers in self._beside.items()}

    def beside(self) -> Beside:
        """The other blocks, as layers."""
        return self._beside

    def stem(self, layer: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
        """The first layer on packs; n rows become ceil(n / m)."""
        packs = pack(x, self.m)
        output = forward(packs[:, 0])
        for i, other in enumerate(self._beside[layer], start=1):
            output = output + other(packs[:, i])
        return output

    def d_output(self, output: Tensor, *, rows: int) -> Tensor:
        """Each pack's output once for each of its samples, shape (rows, ...)."""
        return output.repeat_interleave(self.m, dim=0)[:rows]


def _alike(layer: nn.Module, weight: Tensor) -> nn.Module:
    """A layer that does what `layer` does, without bias and with another weight."""
    if isinstance(layer, nn.Linear):
        other: nn.Module = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
    elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        other = type(layer)(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            layer.groups,
            bias=False,
            padding_mode=layer.padding_mode,
            device="meta",
        )
    else:
        raise TechniqueRefused(
            f"pacgan needs a linear or convolutional first layer in D, found {type(layer).__name__}; "
            "use minibatch_discrimination or rpgan_r1_r2"
        )
    other.weight = nn.Parameter(weight)
    return other
