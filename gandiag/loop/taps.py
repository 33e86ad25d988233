"""The places where torch is tapped, each put in and taken out again.

Only four: `torch.autograd.backward` and `torch.autograd.grad` (functions of a module), `forward` of the
units' classes, and the optimizers (`add_param_group`, step hooks). Class-level patches and global hooks on
purpose: a hook on a module travels with deepcopy to EMA copies and with pickle into the user's files.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)


class Tapped(Protocol):
    """What the taps call."""

    def forward_called(self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Runs `forward(module, *args, **kwargs)` and returns its result."""

    def backward_called(self, tensors: Any, grad_tensors: Any) -> None:
        """A backward pass is about to start."""

    def grad_called(self, entering: bool) -> None:
        """torch.autograd.grad is entered or left."""

    def optimizer_made(self, optimizer: Optimizer) -> None:
        """An optimizer got a parameter group."""

    def before_step(self, optimizer: Optimizer) -> None:
        """An optimizer is about to step; gradients are final."""

    def after_step(self, optimizer: Optimizer) -> None:
        """An optimizer has stepped."""


class Taps:
    """All taps of one observer; `close` leaves torch as it was."""

    def __init__(self, tapped: Tapped) -> None:
        self._tapped = tapped
        self._undo: list[Callable[[], None]] = []
        self._classes: set[type[nn.Module]] = set()

    def open(self) -> None:
        """Tap autograd and the optimizers."""
        self._replace(torch.autograd, "backward", self._backward(torch.autograd.backward))
        self._replace(torch.autograd, "grad", self._grad(torch.autograd.grad))
        self._replace(Optimizer, "add_param_group", self._add_param_group(Optimizer.add_param_group))
        depth: dict[int, int] = {}

        # A subclass that calls super().step() fires the hooks twice; only the outer pair counts.
        def pre(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            depth[id(optimizer)] = depth.get(id(optimizer), 0) + 1
            if depth[id(optimizer)] == 1:
                self._tapped.before_step(optimizer)

        def post(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            depth[id(optimizer)] = max(0, depth.get(id(optimizer), 1) - 1)
            if depth[id(optimizer)] == 0:
                self._tapped.after_step(optimizer)

        self._undo.append(register_optimizer_step_pre_hook(pre).remove)
        self._undo.append(register_optimizer_step_post_hook(post).remove)

    def watch_classes(self, classes: set[type[nn.Module]]) -> None:
        """Tap `forward` of these classes, once each."""
        for cls in classes - self._classes:
            home, name = next(base for base in cls.__mro__ if "forward" in vars(base)), "forward"
            if home is nn.Module and "__call__" in vars(cls):
                home, name = cls, "__call__"  # torch.compile's wrapper keeps its forward on the instance
            if home is nn.Module or home in self._classes:
                self._classes.add(cls)
                continue
            self._replace(home, name, self._forward(vars(home)[name]))
            self._classes.update((cls, home))

    def close(self) -> None:
        """Take every tap out, the last one first."""
        while self._undo:
            self._undo.pop()()
        self._classes.clear()

    def _replace(self, home: Any, name: str, new: Any) -> None:
        old = vars(home)[name]
        setattr(home, name, new)

        def restore() -> None:
            # Somebody may have patched on top of ours; theirs must survive, and ours then passes through.
            if vars(home).get(name) is new:
                setattr(home, name, old)

        self._undo.append(restore)

    def _forward(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        tapped = self._tapped

        @functools.wraps(forward)
        def watched(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling():
                return forward(module, *args, **kwargs)
            return tapped.forward_called(module, forward, args, kwargs)

        return watched

    def _backward(self, backward: Callable[..., None]) -> Callable[..., None]:
        tapped = self._tapped

        @functools.wraps(backward)
        def watched(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
            tapped.backward_called(tensors, grad_tensors)
            backward(tensors, grad_tensors, *args, **kwargs)

        return watched

    def _grad(self, grad: Callable[..., Any]) -> Callable[..., Any]:
        tapped = self._tapped

        @functools.wraps(grad)
        def watched(*args: Any, **kwargs: Any) -> Any:
            tapped.grad_called(True)
            try:
                return grad(*args, **kwargs)
            finally:
                tapped.grad_called(False)

        return watched

    def _add_param_group(self, add: Callable[..., None]) -> Callable[..., None]:
        tapped = self._tapped

        @functools.wraps(add)
        def watched(optimizer: Optimizer, param_group: dict[str, Any]) -> None:
            add(optimizer, param_group)
            tapped.optimizer_made(optimizer)

        return watched
