"""The border: what users hand over becomes clean tensors here, or a `ShapeError` that says what is wrong.

Everything behind this line may assume finite, two-dimensional, floating-point rows on one device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandiag.errors import ShapeError

Samples: TypeAlias = Tensor | NDArray[Any] | Sequence[Any]
"""One embedding a row, `[n, d]`. Wide on purpose: a wrong shape gets our message, not a type checker's."""

_NAMED_ROWS = 8  # an error names at most so many bad rows


def samples(x: Samples, *, name: str, rows: int = 1) -> Tensor:
    """Check one set of samples.

    Args:
        x: `[n, d]`, anything that torch turns into a tensor of real numbers.
        name: what the caller calls it, for the messages.
        rows: how many rows the asked computation needs at least.

    Returns:
        A detached float32 or float64 tensor `[n, d]`; half precision is widened, integers become float64.

    Raises:
        ShapeError: not 2-D, no columns, too few rows, or rows that hold NaN or infinity.
    """
    tensor = _tensor(x, name)
    if tensor.ndim != 2 or tensor.shape[1] == 0:
        raise ShapeError(
            f"{name} must be 2-D, one embedding a row, but has shape {list(tensor.shape)}; "
            "flatten each sample to one row, or embed it first"
        )
    if len(tensor) < rows:
        raise ShapeError(f"{name} has {len(tensor)} rows, and this needs at least {rows}; give more samples")
    broken = _broken(tensor)
    if len(broken):
        some = ", ".join(str(index) for index in broken[:_NAMED_ROWS].tolist())
        more = f" and {len(broken) - _NAMED_ROWS} more" if len(broken) > _NAMED_ROWS else ""
        raise ShapeError(
            f"{name} has {len(broken)} of {len(tensor)} rows with NaN or infinity: rows {some}{more}; "
            "remove them, or look at what made them"
        )
    return tensor


def two_samples(real: Samples, fake: Samples, *, rows: int = 1) -> tuple[Tensor, Tensor]:
    """Check a pair of sets: each as `samples` does, and both equally wide. `fake` moves to `real`'s device."""
    real = samples(real, name="real", rows=rows)
    fake = samples(fake, name="fake", rows=rows)
    if real.shape[1] != fake.shape[1]:
        raise ShapeError(
            f"real has {real.shape[1]} columns and fake has {fake.shape[1]}; both must come from the same embedder"
        )
    return real, fake.to(real.device)


def _broken(rows: Tensor) -> Tensor:
    """Indices of rows with NaN or infinity.

    Sums of rows first: a row with a broken entry has a broken sum, and they take a hundredth of the time and memory.
    The few finite rows whose sum leaves the dtype are looked at entry by entry.
    """
    doubtful = (~torch.isfinite(rows.sum(dim=1))).nonzero().flatten()
    return doubtful[~torch.isfinite(rows[doubtful]).all(dim=1)]


def _tensor(x: Samples, name: str) -> Tensor:
    if isinstance(x, np.ndarray) and (not x.flags.writeable or any(stride < 0 for stride in x.strides)):
        x = x.copy()  # torch warns about the one and refuses the other; memory-mapped snapshots are read-only
    try:
        tensor = torch.as_tensor(x).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(f"{name} cannot be read as an array of numbers ({error}); give an [n, d] tensor") from error
    if tensor.is_complex():
        raise ShapeError(
            f"{name} holds complex numbers; give real ones, for example real and imaginary parts as columns"
        )
    if tensor.device.type == "mps":
        tensor = tensor.cpu()  # that device has no float64, which exact answers need
    if tensor.is_floating_point():
        return tensor if tensor.dtype == torch.float64 else tensor.float()
    return tensor.double()
