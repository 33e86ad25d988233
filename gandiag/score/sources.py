"""What users hand over as samples, as blocks of tensors: arrays in memory or on disk, and streams of batches.

A stream is read once, and no more of it is kept than an embedder is fitted to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandiag.errors import ShapeError

Labels = NDArray[np.int64]

FITTED_ROWS, FITTED_BYTES = 4096, 2**27
"""Samples that an embedder is fitted to, at most: so many, and so many bytes of them (128 MiB)..."""
FEWEST_FITTED = 64
"""... but so many in any case."""

BLOCK = 2**23
"""Numbers in a block of an array, at most, but for a single sample with more: 32 MiB of float32."""


_COMPUTABLE = {
    torch.bool: torch.uint8,
    torch.uint16: torch.int32,
    torch.uint32: torch.int64,
    torch.uint64: torch.float64,
}


class Block(NamedTuple):
    """Some samples in a row.

    Attributes:
        first: index of the first of them.
        samples: `[n, ...]`.
        labels: `[n]` integers that came with them in the batch, if any did.
    """

    first: int
    samples: Tensor
    labels: Labels | None = None


class Source:
    """Samples of one side.

    Args:
        samples: a tensor, an array (memory-mapped or not), nested lists of numbers, or an iterable of batches, each
            one of those or a tuple or list that begins with one, as a `DataLoader` yields them.
        name: "real" or "fake", for messages.

    Attributes:
        total: how many samples there are, where that is known beforehand.
        notes: sentences about what was done to the samples, where the iterable has such an attribute.
    """

    def __init__(self, samples: Any, name: str) -> None:
        self._name = name
        notes = getattr(samples, "notes", ())
        self.notes: tuple[str, ...] = (notes,) if isinstance(notes, str) else tuple(notes)
        self._array = None if is_stream(samples) else _array(samples, name)
        self._stream = iter(()) if self._array is not None else self._blocks(samples)
        self.total = None if self._array is None else len(self._array)

    def some(self, *, seed: int, parts: int = 1) -> tuple[Tensor, NDArray[np.int64]]:
        """The samples to fit an embedder to, and their indices: drawn from an array, the first ones of a stream.

        Args:
            seed: for drawing.
            parts: of the bytes that may be kept, use one such part: enough to look at.
        """
        if self._array is not None:
            count = _fitted(self._array[:1], parts)
            rows = np.arange(len(self._array))
            if len(rows) > count:
                # Arrays are often sorted by class: their first rows would be of one.
                rows = np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
            return _tensor(_taken(self._array, rows), self._name), rows
        kept: list[Block] = []
        seen = 0
        for block in self._stream:
            kept.append(block)
            seen += len(block.samples)
            if seen >= _fitted(block.samples, parts):
                break
        self._stream = _replayed(kept, self._stream)
        _refuse_single_images([block.samples for block in kept], self._name)
        if not seen:
            raise ShapeError(
                f"{self._name} has no samples: the iterable gave no batches (a generator can be read only once)"
            )
        return _joined([block.samples for block in kept], self._name), np.arange(seen)

    def __iter__(self) -> Iterator[Block]:
        """All samples, from the first to the last; once."""
        if self._array is None:
            yield from self._stream
            return
        step = max(1, BLOCK // max(1, _numbers(self._array)))
        for first in range(0, len(self._array), step):
            yield Block(first, _tensor(_taken(self._array, slice(first, first + step)), self._name))

    def _blocks(self, batches: Iterable[Any]) -> Iterator[Block]:
        first = 0
        for number, batch in enumerate(batches):
            samples, labels = _parts(batch)
            if np.ndim(samples) and len(samples) == 0:
                continue  # as a stream may end, after a filter
            try:
                x = _tensor(samples if isinstance(samples, Tensor) else _array(samples, self._name), self._name)
            except ShapeError as error:
                raise ShapeError(f"batch {number}: {error}") from error
            yield Block(first, x, _integers(labels, len(x)))
            first += len(x)


def _replayed(kept: list[Block], rest: Iterator[Block]) -> Iterator[Block]:
    """What was kept, then the rest; nothing is held longer than until it was given out."""
    while kept:
        yield kept.pop(0)
    yield from rest


def is_stream(samples: Any) -> bool:
    """Whether something is an iterable of batches, and not an array itself."""
    if isinstance(samples, Tensor | np.ndarray | str | bytes | dict) or hasattr(samples, "__array__"):
        return False
    if isinstance(samples, list | tuple):
        return len(samples) > 0 and _is_batch(samples[0])
    return isinstance(samples, Iterable)


def _is_batch(item: Any) -> bool:
    """A tensor, an array, or a tuple or list that begins with one."""
    if isinstance(item, list | tuple) and len(item):
        item = item[0]
    return (isinstance(item, Tensor | np.ndarray) or hasattr(item, "__array__")) and np.ndim(item) > 0


def _parts(batch: Any) -> tuple[Any, Any]:
    """Samples of a batch, and what comes with them."""
    if isinstance(batch, list | tuple) and _is_batch(batch):
        return batch[0], batch[1] if len(batch) > 1 else None
    return batch, None


def _integers(labels: Any, count: int) -> Labels | None:
    """Labels of a batch as `[n]` integers, None if they are none."""
    if not isinstance(labels, Tensor | np.ndarray):
        return None
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
    fits = array.shape == (count,) and array.dtype.kind in "iu"
    return array.astype(np.int64) if fits else None


def _array(samples: Any, name: str) -> Tensor | NDArray[Any]:
    if isinstance(samples, Tensor):
        array: Tensor | NDArray[Any] = _computable(samples.detach())
    else:
        if not (isinstance(samples, list | tuple | np.ndarray | float | int) or hasattr(samples, "__array__")):
            # NumPy would read a Dataset item by item, to make nothing of it in the end.
            raise ShapeError(
                f"{name} is {type(samples).__name__}, which cannot be read as samples; give an array [n, ...] or an "
                "iterable of batches (a Dataset belongs into a DataLoader)"
            )
        try:
            array = samples if isinstance(samples, np.ndarray) else np.asarray(samples)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ShapeError(f"{name} cannot be read as an array of numbers ({error}); give [n, ...]") from error
        if array.dtype.kind not in "fiub":
            raise ShapeError(
                f"{name} cannot be read as numbers: it holds {array.dtype}; give an array [n, ...] of "
                "real numbers, or an iterable of batches, such as a DataLoader"
            )
    if array.ndim == 0 or _numbers(array) == 0 or len(array) == 0:
        raise ShapeError(f"{name} has shape {list(array.shape)}; give [n, ...], one sample a row")
    return array


def _tensor(array: Tensor | NDArray[Any], name: str) -> Tensor:
    """Samples as a tensor, of a type that torch can compute with."""
    if isinstance(array, Tensor):
        if array.ndim == 0 or array.numel() == 0:
            raise ShapeError(f"{name} has shape {list(array.shape)}; give [n, ...], one sample a row")
        return _computable(array.detach())
    kinds = {"b": np.uint8, "u": np.int64, "i": np.int64, "f": np.float64}
    native = array.dtype.newbyteorder("=")
    if native == np.uint64:
        native = np.dtype(np.float64)  # beyond 2^63 an int64 would be negative
    known = native in (np.uint8, np.int8, np.int16, np.int32, np.int64, np.float16, np.float32, np.float64)
    # A copy in any case: torch warns of read-only memory, as memory-mapped files are, and refuses negative strides.
    return torch.from_numpy(np.array(array, dtype=native if known else kinds[array.dtype.kind]))


def _computable(x: Tensor) -> Tensor:
    """The same values in a type that torch computes with."""
    if x.is_floating_point():
        return x.float() if x.element_size() == 1 else x
    return x.to(_COMPUTABLE.get(x.dtype, x.dtype))


def _taken(array: Tensor | NDArray[Any], rows: slice | NDArray[np.int64]) -> Tensor | NDArray[Any]:
    if isinstance(array, Tensor) and not isinstance(rows, slice):
        return array[torch.from_numpy(rows).to(array.device)]
    return array[rows]


def _joined(blocks: list[Tensor], name: str) -> Tensor:
    shapes = {tuple(block.shape[1:]) for block in blocks}
    if len(shapes) > 1:
        one, other = sorted(shapes)[:2]
        raise ShapeError(f"{name} has samples of shape {list(one)} and of {list(other)}; resize or crop them alike")
    return torch.cat(blocks)


def _refuse_single_images(batches: list[Tensor], name: str) -> None:
    """Images that were not stacked would be read as batches of their channels."""
    shape = list(batches[0].shape) if batches else []
    if len(batches) > 1 and len(shape) == 3 and shape[0] in (1, 3) and all(list(x.shape) == shape for x in batches):
        raise ShapeError(
            f"each batch of {name} has shape {shape}, which looks like one image [c, h, w], and would be read as "
            f"{shape[0]} sample{'s' * (shape[0] > 1)} [h, w]: stack images to batches [n, c, h, w] first, by "
            "torch.stack(images); of grey images in such small batches, give larger ones"
        )


def _fitted(sample: Tensor | NDArray[Any], parts: int) -> int:
    """How many samples like these to fit an embedder to."""
    return min(FITTED_ROWS, max(FEWEST_FITTED, FITTED_BYTES // parts // max(1, 4 * _numbers(sample))))


def _numbers(array: Tensor | NDArray[Any]) -> int:
    """Numbers in one sample."""
    return int(np.prod(array.shape[1:], dtype=np.int64))
