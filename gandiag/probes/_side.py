"""The newest batches of one side, real or fake, until a snapshot is made of them."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

#: Rows of one side: more where they are small, as in 2-D, where a mode holds a few per cent of them.
ROWS_SMALL, ROWS_LARGE, SMALL = 2_500, 1_000, 64
#: Bytes of samples that are kept alive, each side; a quarter more between two looks.
MOST_BYTES = 128 * 2**20
#: Batches that tell which resolutions come in turn, and that come in between two looks at least.
LOOK = 8


@dataclass(slots=True)
class Part:
    """One batch as D saw it.

    Attributes:
        samples: (n, ...), by reference: what is done with them waits until a snapshot is due.
        version: of the samples when D saw them; a script may fill the same buffer anew.
        output: D's, or None.
        probability: whether that is a probability.
        cotangents: d loss / d output, or None where it is not known.
    """

    samples: Tensor
    version: int
    output: Tensor | None
    probability: bool
    cotangents: Tensor | None

    def intact(self) -> bool:
        """Whether the samples are still those that D saw."""
        return self.samples._version == self.version


class Side:
    """Keeps as many of the newest batches as hold the rows that a snapshot wants.

    Adding one is to cost next to nothing, as it happens in each iteration. Where all are of one shape, one goes for
    each that comes; else they are looked at now and then, and those let go that are too old, written over, or of
    another shape (progressive growing; Ds at several resolutions, of which the largest is kept).

    Args:
        rows: that are wanted; None chooses by the samples' size.

    Attributes:
        copy: whether samples must be copied at once, as the script writes over them.
    """

    def __init__(self, rows: int | None) -> None:
        self.copy = False
        self._rows = rows
        self._parts: deque[Part] = deque()
        self._enough = self._limit = 0
        self._shape: torch.Size | None = None  # of all batches, where all are alike

    def __len__(self) -> int:
        return len(self._parts)

    def add(self, part: Part) -> None:
        """Take one more batch."""
        if self.copy:
            if not part.intact():
                return
            part.samples = part.samples.clone()
            part.version = part.samples._version
        elif self._parts and not self._parts[-1].intact():
            self.copy = True
        self._parts.append(part)
        if len(self._parts) > self._limit:
            if part.samples.shape == self._shape:
                self._parts.popleft()  # as many rows as came
            else:
                self._look()

    def full(self) -> bool:
        """Whether there are rows enough."""
        return len(self._parts) > 0 and len(self._parts) >= self._enough and self._look()

    def take(self) -> list[Part]:
        """What there is, the oldest first, and forget it."""
        if self._parts:
            self._look()
        parts = list(self._parts)
        self.forget()
        return parts

    def forget(self) -> None:
        """Let go of all."""
        self._parts.clear()
        self._enough = 0
        self._shape = None

    def _look(self) -> bool:
        # Of several resolutions in turn the newest may be any.
        shape = max((part.samples.shape[1:] for part in islice(reversed(self._parts), LOOK)), key=torch.Size.numel)
        wanted = self._wanted(shape, self._parts[-1].samples.element_size())
        kept: deque[Part] = deque()
        count = 0
        for part in reversed(self._parts):
            if count >= wanted:
                break
            if not part.intact():
                self.copy = True
            elif part.samples.shape[1:] == shape:
                kept.appendleft(part)
                count += part.samples.shape[0]
        first = self._parts[-1].samples.shape
        self._shape = first if all(part.samples.shape == first for part in self._parts) else None
        self._parts = kept
        missing = max(0, wanted - count)
        self._enough = len(kept) + math.ceil(missing * len(kept) / count) if count else 0
        self._limit = self._enough if self._shape else self._enough + max(LOOK, self._enough // 4)
        return missing == 0

    def _wanted(self, shape: torch.Size, itemsize: int) -> int:
        size = shape.numel()
        rows = self._rows or (ROWS_SMALL if size <= SMALL else ROWS_LARGE)
        return max(1, min(rows, MOST_BYTES // max(1, size * itemsize)))
