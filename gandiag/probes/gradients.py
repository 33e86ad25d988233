"""Gradient norms, for each parameter and in total, of what the optimizer is about to use."""

from __future__ import annotations

import torch
from torch import Tensor

from gandiag.loop import Observer, Step
from gandiag.probes.base import Names, Probe, Row, probe


@probe("gradients")
class Gradients(Probe):
    """Columns `grad/{d,g}/total` and `grad/{d,g}/<parameter>` (L2 norms).

    From them and the losses the flush counts `numerics/nonfinite`, the numbers of an iteration that are NaN or
    infinite.
    """

    def __init__(self) -> None:
        self._names = Names()

    def before_step(self, step: Step, row: Row, observer: Observer) -> None:
        """One fused kernel for all norms of a step."""
        named = self._names.of(step, observer)
        if not named:
            return
        each = norms([p.grad for _, p in named if p.grad is not None])
        scale = scale_of(step.optimizer)
        if scale is not None:
            each = each / scale
        total = each.norm()
        row.vectors[tuple(f"grad/{name}" for name, _ in named)] = each
        row.scalars[f"grad/{'g' if step.role == 'g' else 'd'}/total"] = total


def scale_of(optimizer: torch.optim.Optimizer) -> Tensor | None:
    """The scale that is still on the gradients: a fused optimizer under a GradScaler takes it off in its kernel."""
    scale = getattr(optimizer, "grad_scale", None)
    return scale if isinstance(scale, Tensor) else None


def norms(tensors: list[Tensor]) -> Tensor:
    """L2 norm of each tensor in float32, shape (len(tensors),): half precision would overflow at 65,504."""
    dense = [t.coalesce().values() if t.is_sparse else t for t in tensors]
    # Only half precision is widened: asking for float32 norms of float64 tensors is refused by torch as narrowing.
    narrow = any(t.dtype in (torch.float16, torch.bfloat16) for t in dense)
    dtype = torch.float32 if narrow else None
    if hasattr(torch, "_foreach_norm"):  # one kernel; the name is private, so the loop below stays
        return torch.stack([norm.float() for norm in torch._foreach_norm(dense, 2, dtype)])
    return torch.stack([torch.linalg.vector_norm(t, dtype=dtype).float() for t in dense])
