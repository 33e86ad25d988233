"""Gradient norms, for each parameter and in total, of what the optimizer is about to use."""

from __future__ import annotations

import torch
from torch import Tensor

from gandiag.loop import Observer, Step
from gandiag.probes.base import Probe, Row, parameter_names, probe


@probe("gradients")
class Gradients(Probe):
    """Columns `grad/{d,g}/total`, `grad/{d,g}/<parameter>` (L2 norms) and `numerics/nonfinite`."""

    def before_step(self, step: Step, row: Row, observer: Observer) -> None:
        """One fused kernel for all norms of a step."""
        named = parameter_names(observer, step)
        if not named:
            return
        each = norms([p.grad for _, p in named if p.grad is not None])
        total = each.norm()
        key = "g" if step.role == "g" else "d"
        row.vectors[tuple(f"grad/{name}" for name, _ in named)] = each
        row.scalars[f"grad/{key}/total"] = total
        bad = (~torch.isfinite(each)).sum().float()
        if step.losses:
            bad = bad + sum((~torch.isfinite(x)).float() for x in step.losses)
        before = row.scalars.get("numerics/nonfinite")
        row.scalars["numerics/nonfinite"] = bad if before is None else bad + before


def norms(tensors: list[Tensor]) -> Tensor:
    """L2 norm of each tensor in float32, shape (len(tensors),): half precision would overflow at 65,504."""
    dense = [t.coalesce().values() if t.is_sparse else t for t in tensors]
    if hasattr(torch, "_foreach_norm"):  # one kernel; the name is private, so the loop below stays
        return torch.stack(torch._foreach_norm(dense, 2, torch.float32))
    return torch.stack([torch.linalg.vector_norm(t, dtype=torch.float32) for t in dense])
