"""D's forward with the networks seam: other weights, a changed first and last layer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from gandiag.errors import TechniqueRefused
from gandiag.loop.calls import leaves
from gandiag.techniques import Technique


@contextlib.contextmanager
def preserved(nets: list[nn.Module], device: torch.device) -> Iterator[None]:
    """Puts buffers (batch-norm statistics, power iterations) and the random streams back as they were."""
    # The forward gets copies to change, and the originals go back untouched: writing old values into them
    # would raise their version counters, and a graph that still holds them would refuse its backward pass.
    originals = [
        (module, name, buffer) for net in nets for module in net.modules() for name, buffer in _buffers(module)
    ]
    for module, name, buffer in originals:
        module._buffers[name] = buffer.clone()
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, device)
        for module, name, buffer in originals:
            module._buffers[name] = buffer


def _buffers(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, buffer) for name, buffer in module._buffers.items() if buffer is not None]


@dataclass
class Ends:
    """The first and the last layer of a net that have weights, in the order in which data flows."""

    stem: nn.Module
    head: nn.Module


def find_ends(net: nn.Module, run: Callable[[], Any]) -> Ends:
    """Learn a net's first and last layer from one forward.

    The hook is a global one for the time of the call: a hook on the modules would stay behind in copies.
    """
    order: list[nn.Module] = []
    inside = {id(m) for m in net.modules()}

    def note(module: nn.Module, args: Any) -> None:
        weight = module._parameters.get("weight")
        if id(module) in inside and weight is not None and weight.ndim >= 2:
            order.append(module)

    handle = register_module_forward_pre_hook(note)
    try:
        run()
    finally:
        handle.remove()
    if not order:
        raise TechniqueRefused(
            f"{type(net).__name__} calls no layer with a weight matrix (it may use torch.nn.functional with its own "
            "parameters), so its first and last layer cannot be found; use techniques that act on gradients, such as r1"
        )
    return Ends(order[0], order[-1])


@dataclass
class Changes:
    """The networks seam of all techniques on one net."""

    techniques: list[Technique]
    ends: Ends
    captured: Tensor | None = field(default=None, init=False)

    def run(
        self, net: nn.Module, args: Any, kwargs: Any, *, forward: Callable[..., Any], update: bool, expand: bool = True
    ) -> Any:
        """`forward(net, *args, **kwargs)` with every change in place; all are taken back right after it.

        Args:
            net, args, kwargs, forward: the call.
            update: whether power iterations advance, as they do in the script's own forwards.
            expand: whether outputs get as many rows as the input has (PacGAN gives one for each pack).
        """
        with contextlib.ExitStack() as stack:
            for technique in self.techniques:
                for layer, weight in technique.weights(training=net.training, update=update).items():
                    stack.enter_context(_weight(layer, weight))
            stack.enter_context(_layer(self.ends.stem, "stem", self.techniques, self))
            if self.ends.head is not self.ends.stem:
                stack.enter_context(_layer(self.ends.head, "head", self.techniques, self))
            output = forward(net, *args, **kwargs)
        rows = _rows(args, kwargs)
        if rows is None or not expand or not any(t.has("d_output") for t in self.techniques):
            return output
        return _map(output, lambda leaf: self.output(leaf, rows))

    def output(self, output: Tensor, rows: int) -> Tensor:
        """One tensor that D returns, with `rows` rows."""
        for technique in self.techniques:
            output = technique.d_output(output, rows=rows)
        return output


@contextlib.contextmanager
def _weight(layer: nn.Module, weight: Tensor) -> Iterator[None]:
    parameter = layer._parameters["weight"]
    layer._parameters["weight"] = weight  # type: ignore[assignment]
    try:
        yield
    finally:
        layer._parameters["weight"] = parameter


@contextlib.contextmanager
def _layer(layer: nn.Module, end: str, techniques: list[Technique], changes: Changes) -> Iterator[None]:
    """For the time of one forward, `layer.forward` is an attribute of the instance, which wins over its class."""
    plain = layer.forward
    both = changes.ends.head is changes.ends.stem

    def changed(x: Tensor) -> Tensor:
        changes.captured = x
        forward: Callable[[Tensor], Tensor] = plain
        for technique in techniques:
            for name in ("head", "stem") if both else (end,):
                if technique.has(name):
                    forward = _bind(getattr(technique, name), layer, forward)
        return forward(x)

    layer.__dict__["forward"] = changed
    try:
        yield
    finally:
        del layer.__dict__["forward"]


def _bind(method: Callable[..., Tensor], layer: nn.Module, forward: Callable[[Tensor], Tensor]) -> Any:
    return lambda x: method(layer, x, forward)


class SigmoidInputs(TorchFunctionMode):
    """Remembers what went into each sigmoid, so that D's logits can be had from a D that ends in one."""

    def __init__(self) -> None:
        super().__init__()
        self._pairs: list[tuple[int, Tensor, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # In place, the input would be gone: run the other form instead, on what is gandiag's own forward.
        if func in (torch.sigmoid_, Tensor.sigmoid_):
            func = torch.sigmoid
        output = func(*args, **(kwargs or {}))
        if func in (torch.sigmoid, Tensor.sigmoid, torch.special.expit, torch.nn.functional.sigmoid):
            self._pairs.append((output.untyped_storage()._cdata, args[0], output))
        return output

    def logits(self, output: Tensor) -> Tensor:
        """`output` before its sigmoid if it is (a view of) a sigmoid's result, else `output` itself."""
        key = output.untyped_storage()._cdata
        for storage, before, _ in reversed(self._pairs):
            if storage == key and before.numel() == output.numel():
                return before.reshape(output.shape)
        return output


def first_leaf(output: Any) -> Tensor:
    """The tensor that a loss would use of D's output."""
    return next(leaves(output))


def replace_samples(args: Any, kwargs: Any, x: Tensor) -> tuple[Any, Any]:
    """The arguments of a call with other samples; row-wise companions (labels) are cut to as many rows."""
    done = False
    before = _rows(args, kwargs)

    def swap(value: Any) -> Any:
        nonlocal done
        if isinstance(value, Tensor):
            if not done and value.is_floating_point() and value.ndim >= 2:
                done = True
                return x
            if value.ndim >= 1 and len(value) == before and len(value) != len(x):
                return value[: len(x)]
        if type(value) in (list, tuple):
            return type(value)(swap(item) for item in value)
        if type(value) is dict:
            return {key: swap(item) for key, item in value.items()}
        return value

    return swap(tuple(args)), swap(dict(kwargs))


def _rows(args: Any, kwargs: Any) -> int | None:
    return next((len(x) for x in leaves((args, kwargs)) if x.ndim >= 2), None)


def _map(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value) if value.is_floating_point() and value.ndim >= 1 else value
    if type(value) in (list, tuple):
        return type(value)(_map(item, change) for item in value)
    if type(value) is dict:
        return {key: _map(item, change) for key, item in value.items()}
    return value
