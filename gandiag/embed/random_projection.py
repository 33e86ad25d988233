"""A fixed random projection: keeps distances, needs no download, is the same on every machine.

Source: Johnson & Lindenstrauss 1984; 512 dimensions keep the distances between some thousand points within
about 10 %. It knows nothing of what an image shows: on photographs a trained network sees more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import ceil, prod

import torch
from torch import Tensor
from torch.nn import functional as F

from gandiag.embed._words import channels_last, cut_off, times
from gandiag.embed.base import Shape, embedder

DIMENSIONS = 512
WIDEST = 3072
"""Numbers a sample may have before the projection: a colour image of 32 x 32."""
SEED = 20210607


def _notes(shape: Shape) -> tuple[str, ...]:
    factor = _factor(shape)
    said = []
    if factor > 1:
        lost = cut_off(shape[1:], factor) + channels_last(shape)
        said.append(f"samples of {times(shape)} were average-pooled by {factor}{lost}")
    left = shape[0] * prod(size // factor for size in shape[1:]) if factor > 1 else prod(shape)
    if left > WIDEST:
        said.append(f"{left:,} numbers a sample were folded to {WIDEST:,} by random signs and sums")
    said.append(f"{min(left, WIDEST):,} numbers a sample were projected to {DIMENSIONS} at random")
    return tuple(said)


@embedder("random_projection", notes=_notes, work=lambda shape: 4 * prod(shape))
def random_projection(x: Tensor) -> Tensor:
    """Project each sample to 512 dimensions, images average-pooled first.

    Args:
        x: [n, ...]; [n, c, h, w] and [n, c, t] are pooled until a sample has at most 3,072 numbers.

    Returns:
        [n, 512] float32.
    """
    rows = _fold(_pool(x.float()).reshape(len(x), -1))
    return rows @ _matrix(rows.shape[1], rows.device)


def _pool(x: Tensor) -> Tensor:
    pools: dict[int, Callable[[Tensor, int], Tensor]] = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}
    if x.ndim not in pools:
        return x
    factor = _factor(tuple(x.shape[1:]))
    return x if factor <= 1 else pools[x.ndim](x, factor)


def _factor(shape: Shape) -> int:
    """How many neighbours along each side are averaged; 1 for none."""
    if len(shape) not in (2, 3, 4):
        return 1
    factor: int = ceil((prod(shape) / WIDEST) ** (1 / (len(shape) - 1)))
    return min(factor, *shape[1:])  # never pool a side away: what is left is folded


def _fold(rows: Tensor) -> Tensor:
    """[n, w] -> [n, at most 3072]: random signs, then sums of blocks.

    A full matrix for a million numbers would take gigabytes; signs and sums keep distances in expectation.
    """
    width = rows.shape[1]
    if width <= WIDEST:
        return rows
    blocks = ceil(width / WIDEST)
    signed = F.pad(rows * _signs(width, rows.device), (0, blocks * WIDEST - width))
    return signed.reshape(len(rows), blocks, WIDEST).sum(dim=1)


@lru_cache(maxsize=4)
def _matrix(width: int, device: torch.device) -> Tensor:
    # Drawn on the CPU, by a generator of its own: the same numbers on every device, and no global stream moves.
    generator = torch.Generator().manual_seed(SEED + width)
    matrix: Tensor = torch.randn(width, DIMENSIONS, generator=generator) / DIMENSIONS**0.5
    return matrix.to(device, non_blocking=True)


@lru_cache(maxsize=4)
def _signs(width: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(SEED - width)
    signs = torch.randint(0, 2, (width,), generator=generator).float() * 2 - 1
    return signs.to(device, non_blocking=True)
