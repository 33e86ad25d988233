"""Samples embedded block by block: of the samples themselves, only small pictures are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gandiag.embed import Embedding
from gandiag.errors import ShapeError
from gandiag.score.sources import Labels, Source

Progress = Callable[[int, int | None, str], None]
"""Called with how many samples are done, of how many (None: not known), and what is being done."""

Indices = NDArray[np.int64]

BROKEN = 0.5
"""Share of samples with NaN or infinity that may be left out; with more, the rest are no fair sample."""

PIXELS = 48
"""Longer side of a picture, at most."""
PICTURE_BYTES = 2**26
"""All pictures of one side together: 64 MiB, which is all of 80,000 grey images of 28 x 28."""

_NAMED = 8  # indices that a sentence names at most


@dataclass(frozen=True, eq=False)
class Gathered:
    """One side, embedded.

    Attributes:
        rows: `[n, d]` embeddings, finite.
        indices: `[n]` which sample each row is of.
        broken: samples that held, or were embedded to, NaN or infinity.
        total: samples seen.
        labels: `[total]` integers that came with the batches; None unless with all of them.
        pictures: `[p, h, w, c]` uint8, of the first p rows; None if samples are no images.
    """

    rows: Tensor
    indices: Indices
    broken: tuple[int, ...]
    total: int
    labels: Labels | None
    pictures: NDArray[np.uint8] | None

    def without(self, samples: Tensor) -> Gathered:
        """The same without some samples, given by their indices."""
        kept = ~np.isin(self.indices, samples.numpy())
        pictures = None if self.pictures is None else self.pictures[kept[: len(self.pictures)]]
        rows = self.rows[torch.from_numpy(kept).to(self.rows.device)]
        return replace(self, rows=rows, indices=self.indices[kept], pictures=pictures)


def gather(source: Source, embedding: Embedding, *, name: str, progress: Progress) -> Gathered:
    """Embed all samples of a source.

    Raises:
        ShapeError: samples of different shapes, or more than half of them broken.
    """
    rows: list[Tensor] = []
    indices: list[Indices] = []
    labels: list[Labels | None] = []
    pictures: list[NDArray[np.uint8]] = []
    total = pictured = beyond = 0
    progress(0, source.total, name)
    for block in source:
        total = block.first + len(block.samples)
        labels.append(block.labels)
        good = whole(block.samples)
        if good.any():
            samples = block.samples[good]
            made = embedding(samples)
            fine = whole(made).to(samples.device)
            beyond += int((~fine).sum())
            rows.append(made[fine.to(made.device)])
            indices.append(block.first + good.cpu().numpy().nonzero()[0][fine.cpu().numpy()])
            # Pictures are of the first rows, without a gap: so a row's number is its picture's.
            room = PICTURE_BYTES // max(1, prod(pictures[0].shape[1:])) - pictured if pictures else len(samples)
            drawn = thumbnails(samples[fine][: max(0, room)], low=embedding.values.low, high=embedding.values.high)
            if drawn is not None and len(drawn):
                pictures.append(drawn)
                pictured += len(drawn)
        progress(total, source.total, name)
    kept = np.concatenate(indices) if indices else np.empty(0, dtype=np.int64)
    broken = np.setdiff1d(np.arange(total), kept)
    if len(broken) > BROKEN * total:
        of_what = f"{len(broken):,} of {total:,} {name} samples"
        if beyond == len(broken):
            raise ShapeError(
                f"{of_what} are finite and leave the range of float32 as they are embedded, such as {some_of(broken)}: "
                "bring them to a scale near 1, or look at the embedder"
            )
        raise ShapeError(
            f"{of_what} hold NaN or infinity, such as {some_of(broken)}: too many to leave out. Look at what made them"
        )
    known = [part for part in labels if part is not None]
    return Gathered(
        rows=torch.cat(rows),
        indices=kept,
        broken=tuple(broken.tolist()),
        total=total,
        labels=np.concatenate(known) if len(known) == len(labels) else None,
        pictures=np.concatenate(pictures) if pictures else None,
    )


def some_of(indices: Indices) -> str:
    """A few indices in words: "samples 3, 7 and 5 more"."""
    named = ", ".join(str(index) for index in indices[:_NAMED])
    more = f" and {len(indices) - _NAMED:,} more" if len(indices) > _NAMED else ""
    return f"sample{'s' if len(indices) > 1 else ''} {named}{more}"


def thumbnails(x: Tensor, *, low: float, high: float) -> NDArray[np.uint8] | None:
    """Samples as small pictures, if they are images.

    Args:
        x: `[n, ...]`; `[n, h, w]`, `[n, c, h, w]` and `[n, h, w, c]` with 1 or 3 channels are taken for images.
        low: what is to be black. The same for real and fake: each scaled by its own, a washed-out fake looks fine.
        high: what is to be white.

    Returns:
        `[n, h, w, c]` uint8, sides of at most 48; None for samples that are no images.
    """
    if x.ndim == 3:
        x = x.unsqueeze(1)
    elif x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
        x = x.movedim(3, 1)
    if x.ndim != 4 or x.shape[1] not in (1, 3) or min(x.shape[2:]) < 4:
        return None
    x = (x.float() - low) / max(high - low, 1e-12)
    factor = -(-max(x.shape[2:]) // PIXELS)
    if factor > 1 and min(x.shape[2:]) >= factor and len(x):
        x = F.avg_pool2d(x, factor)
    pixels = (x.nan_to_num(0.0).clamp(0, 1) * 255).round().to(torch.uint8)
    return np.asarray(pixels.movedim(1, 3).cpu().numpy())


def whole(x: Tensor) -> Tensor:
    """`[n]` whether all numbers of a sample are finite."""
    if not x.is_floating_point():
        return torch.ones(len(x), dtype=torch.bool, device=x.device)
    return x.reshape(len(x), -1).isfinite().all(dim=1)
