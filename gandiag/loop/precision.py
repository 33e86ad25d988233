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
        """Gradients have been clipped; `norm` is their total norm before."""


def tap_precision(taps: Taps, tapped: Tapped) -> None:
    """Put these taps in; `taps.close()` takes them out."""

    def scale(old: Callable[..., Any]) -> Callable[..., Any]:
        def watched(scaler: Any, outputs: Any) -> Any:
            result = old(scaler, outputs)
            if isinstance(result, Tensor) and result.grad_fn is not None and isinstance(scaler._scale, Tensor):
                result.grad_fn.metadata[_SCALE] = scaler._scale  # type: ignore[index]
                tapped.scaled()
            return result

        return watched

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
            result = old(held, max_norm, total_norm, *args, **kwargs)
            tapped.clipped(held, total_norm)
            return result

        return watched

    def clip_value(old: Callable[..., Any]) -> Callable[..., Any]:
        def watched(parameters: Any, *args: Any, **kwargs: Any) -> Any:
            held = _listed(parameters)
            gradients = [p.grad.detach() for p in held if p.grad is not None]
            norm = torch.stack([torch.linalg.vector_norm(g.float()) for g in gradients]).norm() if gradients else None
            result = old(held, *args, **kwargs)
            if norm is not None:
                tapped.clipped(held, norm)
            return result

        return watched

    taps.replace(torch.amp.GradScaler, "scale", scale)
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


def _listed(parameters: Tensor | Iterable[nn.Parameter]) -> list[Any]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)
