"""Minibatch standard deviation: D sees how much the samples of a group differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques.base import Beside, Card, Ends, Technique, own_weight, technique

#: Under the square root, as in both papers' code: the gradient of a root at zero is infinite.
EPSILON = 1e-8


def group_stddev(features: Float[Tensor, "n ..."], *, group: int) -> Float[Tensor, " n"]:
    """For each sample, the standard deviation over its group, averaged over all features.

    There are max(1, n // group) groups, and row i is in the group i modulo their number: StyleGAN2's groups where
    `group` divides n. Where it does not (the last batch of an epoch), groups grow to less than twice `group`; a
    smaller one would hide a collapse, as the deviation of one sample is always zero.

    Source: Karras et al. 2018, arXiv:1710.10196, section 3; groups: Karras et al. 2020, arXiv:1912.04958.
    """
    n = len(features)
    groups = max(1, n // group)
    rows = -(-n // groups)
    # Short groups are filled up, and what fills them is not counted.
    x = functional.pad(features.flatten(1), (0, 0, 0, rows * groups - n)).reshape(rows, groups, -1)
    here = (torch.arange(rows * groups, device=x.device) < n).to(x.dtype).reshape(rows, groups, 1)
    mean = x.sum(dim=0) / here.sum(dim=0)
    variance = ((x - mean) * here).square().sum(dim=0) / here.sum(dim=0)
    return (variance + EPSILON).sqrt().mean(dim=1).repeat(rows)[:n]


@technique(
    Card(
        name="minibatch_stddev",
        summary="Gives D's last layer the mean standard deviation of a group of samples, so that it sees a collapse.",
        treats={"GD104": 0.45, "GD101": 0.3, "GD103": 0.3, "GD105": 0.2},
        source="Karras et al. 2018, arXiv:1710.10196, section 3; groups: Karras et al. 2020, arXiv:1912.04958",
        seams=("networks",),
        cost=1.7,
        cautions=(
            "clipping that the script does itself, of weights (WGAN) or gradients, does not reach the added weights",
            "one number for a group is little: a G that varies what does not matter, such as brightness, satisfies it",
            "its weight is trained by an optimizer of gandiag's own, like D's; the script's checkpoints lack it",
        ),
        restart=True,
        snippet="""\
group = {group}                                          # h: the input of D's last layer, (n, f), n % group == 0
spread = h.reshape(group, -1, h.shape[1]).var(0, unbiased=False).add(1e-8).sqrt().mean(1)
out = self.last(torch.cat([h, spread.repeat(group)[:, None]], dim=1))""",
    )
)
@dataclass
class MinibatchStddev(Technique):
    """Minibatch standard deviation as an additive head.

    last(cat(h, s)) = last(h) + w s: concatenation before a linear or convolutional layer is the layer plus a second
    one on what was concatenated, so the script's layer stays as it is. Before a convolution s is a constant plane.

    Attributes:
        group: how many samples are compared, at least 2; StyleGAN2's 4, where the first paper takes the whole batch.
    """

    group: int = 4
    _heads: dict[nn.Module, nn.Module] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Refuse groups of one."""
        if self.group < 2:
            raise UsageError(f"technique 'minibatch_stddev': group must be at least 2, got {self.group}")

    def widen(self, ends: Ends, *, generator: torch.Generator) -> None:
        """The new head starts at zero, so that D begins as the script made it."""
        self._heads[ends.head] = _with_one_input(ends.head)

    def added(self) -> dict[nn.Module, list[nn.Parameter]]:
        """The new head."""
        return {layer: list(head.parameters()) for layer, head in self._heads.items()}

    def beside(self) -> Beside:
        """The new head."""
        return {layer: [head] for layer, head in self._heads.items()}

    def head(self, layer: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
        """The layer's output plus that of the new head."""
        output = forward(x)
        spread = group_stddev(x, group=self.group)
        # Linear layers have their features on the last axis, convolutions on the second.
        shape = (*x.shape[:-1], 1) if isinstance(layer, nn.Linear) else (len(x), 1, *x.shape[2:])
        added: Tensor = self._heads[layer](spread.reshape(-1, *[1] * (x.ndim - 1)).expand(shape))
        return output + added


def _with_one_input(layer: nn.Module) -> nn.Module:
    """A layer as `layer` is, with one input channel, no bias, and weights of zero."""
    weight = own_weight("minibatch_stddev", layer)
    if isinstance(layer, nn.Linear):
        other: nn.Module = nn.Linear(1, layer.out_features, bias=False, device="meta")
        shape: tuple[int, ...] = (len(weight), 1)
    elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and layer.groups == 1:
        other = type(layer)(
            1,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            bias=False,
            padding_mode=layer.padding_mode,
            device="meta",
        )
        shape = (len(weight), 1, *weight.shape[2:])
    else:
        raise TechniqueRefused(
            "minibatch_stddev needs a linear or an ungrouped convolutional last layer in D, found "
            f"{type(layer).__name__}; use minibatch_discrimination or rpgan_r1_r2"
        )
    other.weight = nn.Parameter(weight.new_zeros(shape).detach())
    return other
