"""Two more places to tap: torch's GradScaler and its gradient clipping.

A GradScaler multiplies the loss, so that the gradients at D's outputs are multiplied too; and where it finds an
infinite gradient it does not call the optimizer at all. Clipping changes the gradients before the optimizer
sees them; the norm before it is computed by torch and thrown away by most scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad
from torch.optim import Optimizer

from gandiag.loop.taps import Taps

_SCALE = "gandiag_scale"
#: How many nodes back from a loss the multiplication by the scale is looked for: division by the number of
#: accumulated batches comes between.
_WALK = 4


class Tapped(Protocol):
    """What these taps call."""

    def scaled(self) -> None:
        """A loss has been multiplied by a scale."""

    def step_skipped(self, optimizer: Optimizer) -> None:
        """A GradScaler was asked to step and did not call the optimizer: a gradient was not finite."""

    def clipped(self, parameters: list[nn.Parameter], norm: Tensor) -> None:
        """Gradients have been clipped; `norm` is their total norm before, 0-dim, of this rank's shards under FSDP."""


def tap_precision(taps: Taps, tapped: Tapped) -> None:
    """Put these taps in; `taps.close()` takes them out."""

    def scale(old: Callable[..., Any]) -> Callable[..., Any]:
        def watched(scaler: Any, outputs: Any) -> Any:
            result = old(scaler, outputs)
            known = getattr(scaler, "_scale", None)  # GradScaler(enabled=False) has none
            if isinstance(known, Tensor):
                for scaled in result if isinstance(result, list | tuple) else (result,):
                    if isinstance(scaled, Tensor) and scaled.grad_fn is not None:
                        scaled.grad_fn.metadata[_SCALE] = known  # type: ignore[index]
                        tapped.scaled()
            return result

        return watched

    def make(old: Callable[..., None]) -> Callable[..., None]:
        def watched(scaler: Any, *args: Any, **kwargs: Any) -> None:
            old(scaler, *args, **kwargs)
            watch_scaler(type(scaler))

        return watched

    def watch_scaler(cls: type) -> None:
        """FSDP's scaler, among others, has a `scale` of its own."""
        home = next(base for base in cls.__mro__ if "scale" in vars(base))
        if home not in scalers:
            scalers.add(home)
            taps.replace(home, "scale", scale)

    def step(old: Callable[..., Any]) -> Callable[..., Any]:
        def watched(scaler: Any, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
            before = taps.steps
            result = old(scaler, optimizer, *args, **kwargs)
            if taps.steps == before:
                tapped.step_skipped(optimizer)
            return result

        return watched

    def clip_norm(old: Callable[..., Any]) -> Callable[..., Any]:
        def watched(parameters: Any, max_norm: Any, total_norm: Tensor, *args: Any, **kwargs: Any) -> Any:
            held = _listed(parameters)
            # Of sharded gradients torch has the norm of all shards, and the columns beside it that of this rank's.
            norm = _norm(held) if hasattr(total_norm, "to_local") else total_norm.detach()
            result = old(held, max_norm, total_norm, *args, **kwargs)
            if norm is not None:
                tapped.clipped(held, norm)
            return result

        return watched

    def clip_value(old: Callable[..., Any]) -> Callable[..., Any]:
        def watched(parameters: Any, *args: Any, **kwargs: Any) -> Any:
            held = _listed(parameters)
            norm = _norm(held)
            result = old(held, *args, **kwargs)
            if norm is not None:
                tapped.clipped(held, norm)
            return result

        return watched

    scalers: set[type] = set()
    for cls in _family(torch.amp.GradScaler):
        watch_scaler(cls)
    taps.replace(torch.amp.GradScaler, "__init__", make)
    taps.replace(torch.amp.GradScaler, "step", step)
    # What `clip_grad_norm_` calls, so that it is seen also where a script has bound that name before.
    taps.replace(clip_grad, "_clip_grads_with_norm_", clip_norm)
    taps.replace(clip_grad, "clip_grad_value_", clip_value)
    taps.replace(nn.utils, "clip_grad_value_", clip_value)


def scale_of_loss(root: Tensor) -> Tensor | None:
    """The scale that a loss was multiplied by, 0-dim, or None."""
    node = root.grad_fn
    for _ in range(_WALK):
        if node is None:
            return None
        metadata: Any = node.metadata
        scale: Tensor | None = metadata.get(_SCALE)
        if scale is not None:
            return scale
        node = node.next_functions[0][0] if node.next_functions else None
    return None


def _family(cls: type) -> list[type]:
    """A class and all that derive from it."""
    children: list[type] = cls.__subclasses__()
    return [cls, *(below for child in children for below in _family(child))]


def _norm(parameters: list[Any]) -> Tensor | None:
    """L2 norm of all gradients together, 0-dim float32; None without any.

    Of what is spread over ranks, this rank's part: to ask for the whole is a collective.
    """
    gradients = [p.grad.detach() for p in parameters if p.grad is not None]
    local = [g.to_local() if hasattr(g, "to_local") else g for g in gradients]
    norms = [torch.linalg.vector_norm(g.float()) for g in local]
    return torch.stack([norm.to(norms[0].device) for norm in norms]).norm() if norms else None


def _listed(parameters: Tensor | Iterable[nn.Parameter]) -> list[Any]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)
