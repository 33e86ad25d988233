"""Gradient norms, for each parameter and in total, of what the optimizer is about to use."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gandiag.loop import Observer, Step
from gandiag.probes.base import Names, Probe, Row, probe, together

_HALF = (torch.float16, torch.bfloat16)
_FOREACH = getattr(torch, "_foreach_norm", None)  # one kernel for all; the name is private


@probe("gradients")
class Gradients(Probe):
    """Columns `grad/{d,g}/<parameter>` (L2 norms) and `grad/{d,g}/total`; `grad/{d,g}/before_clip` where it is clipped.

    `before_clip` is the total that `torch.nn.utils.clip_grad_norm_` or `clip_grad_value_` found. From all of them and
    the losses the flush counts `numerics/nonfinite`, the numbers of an iteration that are NaN or infinite. Under FSDP
    the norms are those of this rank's shards.
    """

    def __init__(self) -> None:
        self._names = Names()
        self._columns: dict[tuple[int, int, str], tuple[tuple[str, ...], bool]] = {}

    def before_step(self, step: Step, row: Row, observer: Observer) -> None:
        """One fused kernel for all norms of a step; their total is taken at the flush."""
        named = self._names.of(step, observer)
        gradients: list[Any] = [p.grad for _, p in named]
        if any(gradient is None for gradient in gradients):
            names, simple = columns_of([name for name, p in named if p.grad is not None], step.role), False
            gradients = [gradient for gradient in gradients if gradient is not None]
        else:
            version = observer.units.version
            key = (id(step.optimizer), version, step.role)
            known = self._columns.get(key)
            if known is None:  # what the gradients are does not change, and asking all of them costs as much as a norm
                known = columns_of([name for name, _ in named], step.role), is_simple(gradients)
                # Of a table that has been rebuilt nothing holds any more.
                self._columns = {other: found for other, found in self._columns.items() if other[1] == version}
                self._columns[key] = known
            names, simple = known
        if gradients:
            each = all_norms(gradients, simple=simple)
            scale = scale_of(step.optimizer)
            row.vectors[names] = each if scale is None else torch.stack(each) / scale

    def clipped(self, role: str, norm: Tensor, row: Row) -> None:
        """Torch has found this norm before it clipped."""
        row.scalars[f"grad/{role}/before_clip"] = norm


def columns_of(names: list[str], role: str) -> tuple[str, ...]:
    """The columns of a step: one for each parameter, and the total."""
    return (*(f"grad/{name}" for name in names), f"grad/{'g' if role == 'g' else 'd'}/total")


def scale_of(optimizer: torch.optim.Optimizer) -> Tensor | None:
    """The scale that is still on the gradients: a fused optimizer under a GradScaler takes it off in its kernel."""
    scale = getattr(optimizer, "grad_scale", None)
    return scale if isinstance(scale, Tensor) else None


def is_simple(tensors: list[Tensor]) -> bool:
    """Whether these are plain dense tensors of one device, none of them in half precision."""
    return (
        len({t.device for t in tensors}) == 1
        and all(type(t) is Tensor and t.layout is torch.strided and t.dtype not in _HALF for t in tensors)
        and len({t.dtype for t in tensors}) == 1
    )


def all_norms(tensors: list[Tensor], *, simple: bool | None = None) -> list[Tensor]:
    """L2 norm of each tensor, 0-dim, in one kernel where they are `simple` (see `is_simple`; None: ask it)."""
    if _FOREACH is not None and (is_simple(tensors) if simple is None else simple):
        return list(_FOREACH(tensors, 2))
    return norms(tensors)


def norms(tensors: list[Tensor]) -> list[Tensor]:
    """L2 norm of each tensor, 0-dim, float32: half precision would overflow at 65,504.

    Of a tensor that is sharded over ranks (FSDP's DTensor) the norm of this rank's shard: the whole one would be a
    collective, and ranks that do not measure alike would wait for each other for ever.
    """
    found = []
    for t in map(_local, tensors):
        found.append(torch.linalg.vector_norm(t, dtype=torch.float32 if t.dtype in _HALF else None).float())
    return together(found)


def _local(t: Tensor) -> Tensor:
    local: Tensor = t.to_local() if hasattr(t, "to_local") else t
    return local.coalesce().values() if local.is_sparse else local
