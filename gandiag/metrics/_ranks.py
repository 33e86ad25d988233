"""One comparison shared among the ranks of `torch.distributed`: each has some rows, all get the answer about all rows.

Rows are small beside the work: n x d numbers are gathered, n² x d products are shared. The blocks of the pass are the
same as in one process, dealt out by rows of blocks; what a rank has seen is merged by sums, minima, and the nearest of
all nearest. So the answers equal those of one process, entry by entry, and each rank gets them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from gandiag.errors import ShapeError
from gandiag.metrics._checks import Samples, samples
from gandiag.metrics._pass import Comparison, RealSide
from gandiag.metrics._team import Team


def compare_over_ranks(
    *, real: Samples, fake: Samples, k: int = 5, group: dist.ProcessGroup | None = None, **options: Any
) -> Comparison:
    """Hold the fakes of all ranks against the reals of all ranks.

    A collective: every rank of the group must call it. `PRDC.of`, `Clipped.of`, `Duplicates.of` and `kid_of` turn the
    answer into metrics; `Moments.merged_over_ranks` is the same for the Fréchet distance. Where torch.distributed is
    not in use it is a plain pass.

    Args:
        real: this rank's embeddings of data, `[n_rank, d]`; numbers of rows may differ, and be 0.
        fake: this rank's embeddings of generated samples, `[m_rank, d]`.
        k: which nearest neighbour sets a ball's radius.
        group: the ranks; all by default. Its backend must send from the device that the rows are on.
        options: those of `RealSide`.

    Returns:
        The same on every rank, with rows in the order of ranks.

    Raises:
        ShapeError: on every rank, if widths differ between ranks or the rows of any rank are not finite, say; else as
            `RealSide`.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return RealSide(real, k=k, **options).against(fake)
    ours, theirs = _checked(real, fake, group)
    team = Team(dist.get_rank(group), dist.get_world_size(group), group)
    return RealSide(_gathered(ours, group), k=k, team=team, **options).against(_gathered(theirs, group))


def _checked(real: Samples, fake: Samples, group: dist.ProcessGroup | None) -> tuple[Tensor, Tensor]:
    """This rank's rows, if those of all ranks are sound: one that gave up alone would leave the others waiting."""
    sets, wrong = [], ""
    try:
        sets = [samples(real, name="real", rows=0), samples(fake, name="fake", rows=0)]
    except ShapeError as error:
        wrong = str(error)
    said = [wrong] * dist.get_world_size(group)
    dist.all_gather_object(said, wrong, group=group)
    if any(said):
        raise ShapeError("; ".join(f"rank {rank}: {text}" for rank, text in enumerate(said) if text))
    return sets[0], sets[1]


def _gathered(rows: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """The rows of all ranks, one after the other."""
    known = _Shape(len(rows), rows.shape[1], rows.dtype == torch.float64)
    shapes: list[_Shape] = [known] * dist.get_world_size(group)
    dist.all_gather_object(shapes, known, group=group)
    if len({shape.width for shape in shapes}) > 1:
        widths = [shape.width for shape in shapes]
        raise ShapeError(f"ranks have rows of {widths} columns; all must come from the same embedder")
    dtype = torch.float64 if any(shape.double for shape in shapes) else torch.float32
    longest = max(shape.rows for shape in shapes)
    padded = rows.new_zeros(longest, known.width, dtype=dtype)
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in shapes]
    dist.all_gather(parts, padded, group=group)
    return torch.cat([part[: shape.rows] for part, shape in zip(parts, shapes, strict=True)])


@dataclass(frozen=True)
class _Shape:
    rows: int
    width: int
    double: bool
