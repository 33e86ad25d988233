"""A net's forward with the networks seam: other weights, changed layers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gandiag.interventions.arguments import map_floats, samples
from gandiag.loop.cast import unwrapped
from gandiag.techniques import Ends, Inside, Technique


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


def unsaved() -> Any:
    """A context in which what is saved for backward is none of the script's.

    Activation checkpointing counts what its function saves, and would miss it when it runs that function again.
    """
    return torch.autograd.graph.saved_tensors_hooks(_as_it_is, _as_it_is)


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _buffers(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, buffer) for name, buffer in module._buffers.items() if buffer is not None]


@dataclass
class Changes:
    """The networks seam of all techniques on one net.

    Attributes:
        net: a discriminator or a generator.
        techniques: all that are on.
        ends: the first and last layer of a discriminator, if a technique needs them.
        inside: layers, and what techniques make of each, in their order.
        acting: the names of the techniques that change something in it.
        of_d: whether it is a discriminator.
        catch: for the time of one forward, what to call with the input of the last layer.
        trained: the parameters that its own step trains, by name; empty before the first one. Many scripts freeze a
            net in the other one's step, so that `requires_grad` says little there.
    """

    net: nn.Module
    techniques: list[Technique]
    ends: Ends | None = None
    inside: dict[nn.Module, list[Inside]] = field(default_factory=dict)
    acting: list[str] = field(default_factory=list)
    of_d: bool = True
    catch: Callable[[Tensor], None] | None = field(default=None, init=False)
    trained: dict[str, nn.Parameter] = field(default_factory=dict, init=False)
    _preceding: bool = field(default=False, init=False)

    def run(self, args: Any, kwargs: Any, *, forward: Callable[..., Any], update: bool, expand: bool = True) -> Any:
        """`forward(net, *args, **kwargs)` with every change in place; all are taken back right after it.

        Args:
            args: of the call.
            kwargs: of the call.
            forward: what runs a net with them: the script's own call, or `call_net`.
            update: whether power iterations advance, as they do in the script's own forwards.
            expand: whether outputs get as many rows as the input has (PacGAN gives one for each pack).
        """
        weighing = self._weighing()
        if not (weighing or self.inside or self.ends):  # the net is as the script has it
            return forward(self.net, *args, **kwargs)
        if self.inside and not self._preceding:
            self._precede(args, kwargs, forward, update)
        with contextlib.ExitStack() as stack:
            for technique in weighing:
                for layer, weight in technique.weights(self.net, training=self.net.training, update=update).items():
                    stack.enter_context(_weight(layer, weight))
            for layer in self._changed():
                stack.enter_context(_layer(layer, self))
            output = forward(self.net, *args, **kwargs)
        x = samples(args, kwargs)
        if self.ends is None or x is None or not expand or not any(t.has("d_output") for t in self.techniques):
            return output
        return map_floats(output, lambda leaf: self._expanded(leaf, len(x)))

    def note_trained(self) -> None:
        """The net's own step is here: remember what is trained, which may be more than in the steps before."""
        now = {name: p for name, p in unwrapped(self.net).named_parameters() if p.requires_grad}
        self.trained = now or self.trained

    def parameters(self) -> dict[str, nn.Parameter]:
        """Those that are trained; before the net's first step, those that could be."""
        return self.trained or {name: p for name, p in unwrapped(self.net).named_parameters() if p.requires_grad}

    def _weighing(self) -> list[Technique]:
        return [t for t in self.techniques if t.has("weights")] if self.of_d else []

    def _changed(self) -> dict[nn.Module, None]:
        """The layers whose forward is changed, each once, in an order that is the same at each run."""
        ends = [] if self.ends is None else [self.ends.stem, self.ends.head]
        return dict.fromkeys([*ends, *self.inside])

    def _precede(self, args: Any, kwargs: Any, forward: Callable[..., Any], update: bool) -> None:
        def once_more(*args: Any, **kwargs: Any) -> Any:
            self._preceding = True
            try:
                with preserved([self.net], next(self.net.parameters()).device):
                    return self.run(args, kwargs, forward=forward, update=False, expand=False)
            finally:
                self._preceding = False

        for technique in self.techniques:
            if technique.has("before"):
                technique.before(self.net, args, kwargs, once_more)

    def _expanded(self, output: Tensor, rows: int) -> Tensor:
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
def _layer(layer: nn.Module, changes: Changes) -> Iterator[None]:
    """For the time of one forward, `layer.forward` is an attribute of the instance, which wins over its class."""
    plain, ends = layer.forward, changes.ends

    def changed(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if ends is not None and layer is ends.head and changes.catch is not None:
            changes.catch(x)
        forward: Callable[[Tensor], Tensor] = lambda x: plain(x, *args, **kwargs)  # noqa: E731
        for change in changes.inside.get(layer, ()):
            forward = _wrapped(change, forward)
        # From the inside out: the head's change sees what the stem's made of it, where one layer is both.
        for end, here in (("head", ends.head), ("stem", ends.stem)) if ends is not None else ():
            if layer is here:
                for technique in changes.techniques:
                    if technique.has(end):
                        forward = _bind(getattr(technique, end), layer, forward)
        return forward(x)

    layer.__dict__["forward"] = changed
    try:
        yield
    finally:
        del layer.__dict__["forward"]


def _wrapped(change: Inside, forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: change(x, forward)


def _bind(method: Callable[..., Tensor], layer: nn.Module, forward: Callable[[Tensor], Tensor]) -> Any:
    return lambda x: method(layer, x, forward)


@contextlib.contextmanager
def thawed(nets: Iterable[Changes]) -> Iterator[None]:
    """What is trained in these nets asks for a gradient, also where the script has frozen it for the time being."""
    frozen = [p for changes in nets for p in changes.parameters().values() if not p.requires_grad]
    for p in frozen:
        p.requires_grad_()
    try:
        yield
    finally:
        for p in frozen:
            p.requires_grad_(False)


class SigmoidInputs(TorchFunctionMode):
    """Remembers what went into each sigmoid, so that D's logits can be had from a D that ends in one.

    Args:
        in_place: whether sigmoids in place may be run in another form; not in the script's own forward.
    """

    def __init__(self, *, in_place: bool = True) -> None:
        super().__init__()
        self._in_place = in_place
        self._pairs: list[tuple[int, Tensor, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # In place, the input would be gone: run the other form instead, on what is gandiag's own forward.
        if self._in_place and func in (torch.sigmoid_, Tensor.sigmoid_):
            func = torch.sigmoid
        output = func(*args, **(kwargs or {}))
        if func in (torch.sigmoid, Tensor.sigmoid, torch.special.expit, torch.nn.functional.sigmoid):
            self._pairs.append((output.untyped_storage()._cdata, args[0], output))
        return output

    def logits(self, output: Tensor) -> Tensor:
        """`output` before its sigmoid if it is (a view of) a sigmoid's result, else `output` itself."""
        before = self.before(output)
        return output if before is None else before.reshape(output.shape)

    def before(self, output: Tensor) -> Tensor | None:
        """What the sigmoid was given whose result `output` is, or is a view of; it may have another shape."""
        key = output.untyped_storage()._cdata
        for storage, before, _ in reversed(self._pairs):
            if storage == key and before.numel() == output.numel():
                return before
        return None


def call_net(net: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """`net(...)`, hooks and all, but without its wrapper: DDP's would wait for a backward pass that never comes."""
    return unwrapped(net)(*args, **kwargs)
