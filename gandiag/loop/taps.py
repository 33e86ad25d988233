"""The places where torch is tapped, each put in and taken out again.

Functions of modules and methods of classes only: a hook on a module or a tensor of the script travels with
deepcopy to EMA copies and with pickle into the user's files, and a patched instance is a changed instance.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FrameType
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

    def backward_begins(self, roots: Any, weights: Any, inputs: Any, accumulate: bool, create_graph: bool) -> None:
        """The autograd engine is about to run: for .grad if `accumulate`, else for torch.autograd.grad."""

    def backward_ended(self, accumulate: bool) -> None:
        """It has run, or failed."""

    def cleared(self, what: Optimizer | nn.Module) -> None:
        """The gradients of an optimizer's or a module's parameters are about to be cleared."""

    def optimizer_made(self, optimizer: Optimizer) -> None:
        """An optimizer got a parameter group."""

    def before_step(self, optimizer: Optimizer) -> None:
        """An optimizer is about to step; gradients are final."""

    def after_step(self, optimizer: Optimizer) -> None:
        """An optimizer has stepped."""

    def step_lost(self, optimizer: Optimizer) -> None:
        """An optimizer's last step has begun and never ended: it has raised."""

    def compiled(self) -> None:
        """torch.compile has wrapped something."""


class Taps:
    """All taps of one observer; `close` leaves torch as it was.

    Attributes:
        steps: how many optimizer steps have begun.
    """

    def __init__(self, tapped: Tapped) -> None:
        self.steps = 0
        self._tapped = tapped
        self._undo: list[Callable[[], None]] = []
        self._classes: set[type[nn.Module]] = set()
        self._depth: dict[int, int] = {}

    def open(self) -> None:
        """Tap autograd and the optimizers."""
        # Both `backward` and `grad` end here, also where a script has bound their names before it was watched.
        self.replace(torch.autograd, "_engine_run_backward", self._engine)
        self.replace(Optimizer, "add_param_group", self._add_param_group)
        self.replace(Optimizer, "zero_grad", self._zero_grad)
        self.replace(nn.Module, "zero_grad", self._zero_grad)
        self.replace(nn.Module, "compile", self._compile)
        self.replace(torch, "compile", self._compile)
        self._undo.append(register_optimizer_step_pre_hook(self._pre).remove)
        self._undo.append(register_optimizer_step_post_hook(self._post).remove)

    def watch_classes(self, classes: set[type[nn.Module]]) -> None:
        """Tap `forward` of these classes, once each."""
        for cls in classes - self._classes:
            home, name = next(base for base in cls.__mro__ if "forward" in vars(base)), "forward"
            if home is nn.Module and "__call__" in vars(cls):
                home, name = cls, "__call__"  # torch.compile's wrapper keeps its forward on the instance
            if home is nn.Module or home in self._classes:
                self._classes.add(cls)
                continue
            self.replace(home, name, self._forward)
            self._classes.update((cls, home))

    def watch_compiled(self, module: nn.Module) -> None:
        """Tap a module that was compiled in place: its class's forward is never called again.

        On the instance for once; torch drops this attribute from what is copied and pickled.
        """
        compiled = module._compiled_call_impl
        if getattr(compiled, "gandiag", False):
            return
        tapped = self._tapped
        # Not compiled, but with a forward on the instance, as Accelerate's mixed precision and PEFT put there.
        run: Callable[..., Any] = module._call_impl if compiled is None else compiled

        def watched(*args: Any, **kwargs: Any) -> Any:
            return tapped.forward_called(module, lambda _, *a, **k: run(*a, **k), args, kwargs)

        watched.gandiag = True  # type: ignore[attr-defined]
        watched.compiled = compiled is not None  # type: ignore[attr-defined]
        module._compiled_call_impl = watched

        def restore() -> None:
            if module._compiled_call_impl is watched:
                module._compiled_call_impl = compiled

        self._undo.append(restore)

    def close(self) -> None:
        """Take every tap out, the last one first."""
        while self._undo:
            self._undo.pop()()
        self._classes.clear()

    def replace(self, home: Any, name: str, tap: Callable[[Any], Any]) -> None:
        """Put `tap(old)` in the place of `home.name`; nothing if this version of torch has no such name."""
        old = vars(home).get(name)
        if old is None:
            return
        new = functools.wraps(old)(tap(old))
        setattr(home, name, new)

        def restore() -> None:
            # Somebody may have patched on top of ours; theirs must survive, and ours then passes through.
            if vars(home).get(name) is new:
                setattr(home, name, old)

        self._undo.append(restore)

    def _forward(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        called = self._tapped.forward_called
        is_compiling = torch.compiler.is_compiling

        def watched(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if is_compiling():
                return forward(module, *args, **kwargs)
            return called(module, forward, args, kwargs)

        return watched

    def _engine(self, run: Callable[..., Any]) -> Callable[..., Any]:
        begins, ended = self._tapped.backward_begins, self._tapped.backward_ended

        def watched(
            roots: Any,
            weights: Any,
            keep: Any,
            create: Any,
            inputs: Any,
            *rest: Any,
            accumulate_grad: bool,
            **named: Any,
        ) -> Any:
            begins(roots, weights, inputs, accumulate_grad, create)
            try:
                return run(roots, weights, keep, create, inputs, *rest, accumulate_grad=accumulate_grad, **named)
            finally:
                ended(accumulate_grad)

        return watched

    def _add_param_group(self, add: Callable[..., None]) -> Callable[..., None]:
        made = self._tapped.optimizer_made

        def watched(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            add(optimizer, *args, **kwargs)
            made(optimizer)

        return watched

    def _zero_grad(self, clear: Callable[..., None]) -> Callable[..., None]:
        cleared = self._tapped.cleared

        def watched(what: Any, *args: Any, **kwargs: Any) -> None:
            cleared(what)
            clear(what, *args, **kwargs)

        return watched

    def _compile(self, compile_: Callable[..., Any]) -> Callable[..., Any]:
        compiled = self._tapped.compiled

        def watched(*args: Any, **kwargs: Any) -> Any:
            result = compile_(*args, **kwargs)
            compiled()
            return result

        return watched

    # A subclass that calls super().step() fires the hooks twice; only the outer pair counts.

    def _pre(self, optimizer: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        key = id(optimizer)
        depth = self._depth.get(key, 0)
        if depth and not _is_nested(optimizer, sys._getframe()):
            depth = 0
            self._tapped.step_lost(optimizer)
        self._depth[key] = depth + 1
        if depth:
            return None
        self.steps += 1
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if not callable(closure):
            self._tapped.before_step(optimizer)
            return None
        closed = self._closure(optimizer, closure)
        return ((args[0], closed, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": closed})

    def _post(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        key = id(optimizer)
        depth = self._depth[key] = max(0, self._depth.get(key, 1) - 1)
        if depth == 0:
            self._tapped.after_step(optimizer)

    def _closure(self, optimizer: Optimizer, closure: Callable[[], Any]) -> Callable[[], Any]:
        """The step's own forward and backward pass: the gradients are final when it returns."""

        @functools.wraps(closure)
        def watched() -> Any:
            result = closure()
            self._tapped.before_step(optimizer)
            return result

        return watched


def _is_nested(optimizer: Optimizer, frame: FrameType) -> bool:
    """Whether a hook was called by a step inside a step of the same optimizer.

    Args:
        optimizer: whose.
        frame: of the hook; below it is torch's wrapper of `step`, which fires the hooks.
    """
    wrapper = frame.f_back
    if wrapper is None:
        return False
    below = wrapper.f_back
    while below is not None:
        if below.f_code is wrapper.f_code and optimizer in below.f_locals.get("args", ())[:1]:
            return True
        below = below.f_back
    return False
