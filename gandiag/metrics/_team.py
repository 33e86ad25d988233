"""Who does which rows of blocks of a pass, and how what each has seen is put together; alone, nothing is to be done."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from jaxtyping import Bool
from torch import Tensor

from gandiag.metrics._tiles import Nearest


@dataclass(frozen=True)
class Team:
    """The place of this process among those that share a pass.

    Attributes:
        rank: which one this is.
        size: how many there are.
        group: of `torch.distributed`.
    """

    rank: int = 0
    size: int = 1
    group: dist.ProcessGroup | None = None

    def mine(self, rows: int, tall: int, device: torch.device) -> Bool[Tensor, " n"]:
        """The rows whose blocks this process makes: each `size`-th row of blocks, as later ones may be shorter."""
        return torch.arange(rows, device=device) // tall % self.size == self.rank

    def sum(self, *tensors: Tensor | None) -> None:
        """Add up what each has counted, in place."""
        self._reduce(tensors, dist.ReduceOp.SUM)

    def smallest(self, *tensors: Tensor | None) -> None:
        """Take the least that any has seen, in place."""
        self._reduce(tensors, dist.ReduceOp.MIN)

    def any(self, seen: Bool[Tensor, " n"]) -> None:
        """Whether any has seen it, in place."""
        if self.size > 1:
            count = seen.int()
            dist.all_reduce(count, group=self.group)
            seen.copy_(count > 0)

    def nearest(self, found: Nearest) -> None:
        """The nearest of what each has found, in place."""
        if self.size > 1:
            d2, indices = (self._all(part) for part in (found.d2, found.indices))
            best = d2.topk(found.k, dim=1, largest=False, sorted=False)
            found.d2, found.indices = best.values, indices.gather(1, best.indices)

    def _all(self, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(self.size)]
        dist.all_gather(parts, x.contiguous(), group=self.group)
        return torch.cat(parts, dim=1)

    def _reduce(self, tensors: tuple[Tensor | None, ...], how: dist.ReduceOp.RedOpType) -> None:
        if self.size > 1:
            for tensor in tensors:
                if tensor is not None:
                    dist.all_reduce(tensor, op=how, group=self.group)


ALONE = Team()
