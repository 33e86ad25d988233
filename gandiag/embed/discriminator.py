"""What the discriminator sees: its own features of a sample, from the layer before its verdict.

    embedding = gandiag.embed.fit(real, embedder=gandiag.embed.features_of(D))

Source: the features that feature matching compares, Salimans et al. 2016, arXiv:1606.03498, section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gandiag.embed.base import embedder
from gandiag.errors import ShapeError, UnknownName, UsageError
from gandiag.loop.layers import multiplies

WIDEST = 8192
"""Numbers a sample beyond which features with positions, such as those of a patch discriminator, are averaged."""


@embedder("discriminator")
def discriminator(x: Tensor) -> Tensor:
    """Says what to call instead: a name alone does not hold the network.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        "the discriminator's own features need your D, which a name does not hold: give "
        "embedder=gandiag.embed.features_of(D), or, on the command line, --embedder module:function with a function of "
        "yours that loads D and calls gandiag.embed.features_of(D)(x)"
    )


def features_of(discriminator: nn.Module, *, layer: str | nn.Module | None = None) -> DiscriminatorFeatures:
    """An embedder from a discriminator: samples [n, ...] -> its features [n, d].

    By default the features are what its last layer with weights is given. D is run in eval mode and without a graph;
    its modes, buffers, hooks and gradients, and the random streams are afterwards as they were.

    Args:
        discriminator: D, which takes a batch of samples alone; wrap a conditional one in a module that adds labels.
        layer: a submodule of D, or its dotted name, whose *output* is taken instead.

    Raises:
        UnknownName: D has no such layer.
        UsageError: D is no module.
    """
    if not isinstance(discriminator, nn.Module):
        raise UsageError(f"features_of needs a torch.nn.Module, got {type(discriminator).__name__}")
    return DiscriminatorFeatures(discriminator, layer)


class DiscriminatorFeatures:
    """What `features_of` makes.

    Attributes:
        name: "discriminator".
        notes: sentences about what was taken, known after the first call.
    """

    name = "discriminator"

    def __init__(self, net: nn.Module, layer: str | nn.Module | None) -> None:
        if isinstance(net, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            net = net.module
        # A compiled net calls no hooks; the one that it was made from shares its weights.
        self._net: nn.Module = getattr(net, "_orig_mod", net)
        self._names: dict[nn.Module, str] = {module: name for name, module in self._net.named_modules()}
        self._layer = self._find(layer)
        self.notes: tuple[str, ...] = ()

    def __call__(self, x: Tensor) -> Tensor:
        """Features of samples as D was trained on them, [n, ...] floats -> [n, d] float32 on the device of `x`.

        Raises:
            UsageError: samples are integers, which D was not trained on.
            ShapeError: the layer was not reached, or its features are not one row a sample.
        """
        if not x.is_floating_point():
            raise UsageError(f"D was trained on floats and is given {x.dtype}; scale the samples as for its training")
        first = next(self._net.parameters(), x)
        seen: list[tuple[nn.Module, Tensor]] = []
        devices = [first.device] if first.device.type == "cuda" else []
        with torch.no_grad(), _evaluating(self._net), self._watched(seen), torch.random.fork_rng(devices):
            # On copies of the buffers: some layers write to theirs in eval mode, too.
            buffers = {name: buffer.clone() for name, buffer in self._net.named_buffers()}
            functional_call(self._net, buffers, (x.to(first.device, first.dtype),))
        if not seen:
            raise ShapeError("no layer with weights was called with a tensor; name one by features_of(D, layer=...)")
        module, found = seen[-1]
        if found.ndim < 2 or len(found) != len(x):
            raise ShapeError(f"layer {self._names[module]!r} has features {tuple(found.shape)} for {len(x)} samples")
        side = "output" if self._layer is not None else "input"
        self.notes = (f"samples are described by the {side} of D's layer {self._names[module] or 'D itself'!r}",)
        if found.ndim > 2 and found[0].numel() > WIDEST:
            self.notes += (f"its {found[0].numel():,} numbers were averaged over positions to {found.shape[1]:,}",)
            found = found.flatten(2).mean(dim=2)
        return found.flatten(1).float().to(x.device)

    def _find(self, layer: str | nn.Module | None) -> nn.Module | None:
        by_name = {name: module for module, name in self._names.items()}
        if isinstance(layer, str):
            if layer in by_name:
                return by_name[layer]
            raise UnknownName.of("layer of D", layer, [name for name in by_name if name])
        if layer is not None and layer not in self._names:
            raise UnknownName(f"this {type(layer).__name__} is no layer of D; give one of D.modules(), or its name")
        return layer

    @contextmanager
    def _watched(self, seen: list[tuple[nn.Module, Tensor]]) -> Iterator[None]:
        """Keep what the layer puts out; without one, what each layer with weights is given, the last one last."""

        def given(module: nn.Module, args: tuple[Any, ...]) -> None:
            if args and isinstance(args[0], Tensor) and args[0].is_floating_point():
                seen[:] = [(module, args[0])]

        def put_out(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, Tensor):
                seen[:] = [(module, output.clone())]  # an activation may follow that works in place

        if self._layer is not None:
            handles = [self._layer.register_forward_hook(put_out)]
        else:
            handles = [m.register_forward_pre_hook(given) for m in self._names if multiplies(m)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


@contextmanager
def _evaluating(net: nn.Module) -> Iterator[None]:
    """Eval mode, and afterwards each module's own mode: a script may have frozen some of them."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
