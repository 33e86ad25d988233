"""The cubic kernel of the kernel distance, from the squared distances that a pass has made already.

`k(x, y) = (x·y / d + 1)³` is taken of the rows as they were given, and the pass has rows from which a centre `c` was
subtracted: `x·y = a·b + a·c + b·c + |c|²`, and `a·b = (|a|² + |b|² - |a - b|²) / 2`. So the kernel's base is the
squared distance times `-1 / 2d`, plus one number a row and one a column.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gandiag.metrics._tiles import Block, Rows, parts


class Shifts(NamedTuple):
    """What a set of rows adds to the kernel's base, as rows or as columns, and the factor of the distance."""

    as_rows: Float[Tensor, " n"]
    as_columns: Float[Tensor, " n"]
    factor: float

    @classmethod
    def of(cls, rows: Rows, centre: Float[Tensor, " d"]) -> Shifts:
        """For centred rows, and the centre that was subtracted from them (float64)."""
        d = rows.x.shape[1]
        along = torch.cat([rows.part(part).double() @ centre for part in parts(len(rows.x), 1024)])
        columns = (rows.norms.double() / 2 + along) / d
        shifted = columns + centre.square().sum() / d + 1
        return cls(shifted.to(rows.norms.dtype), columns.to(rows.norms.dtype), -1 / (2 * d))


def cubes(block: Block, rows: Shifts, columns: Shifts, out: Tensor) -> Tensor:
    """The kernel of each pair of a block `[r, c]`, written to `out`."""
    torch.add(rows.as_rows[block.rows, None], block.d2, alpha=rows.factor, out=out)
    out.add_(columns.as_columns[block.columns])
    return torch.pow(out, 3, out=out)
