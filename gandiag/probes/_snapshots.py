"""Snapshots: samples that the loop itself has made, embedded, at log-spaced iterations.

Nothing is generated for them: the last batches that D saw are kept by reference, which costs no copy and
draws no random number, and joined when a snapshot is due.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gandiag.loop import Call, Step
from gandiag.loop.calls import Kind
from gandiag.probes._transfer import Transfer
from gandiag.probes.logits import as_logits

Embed = Callable[[Tensor], tuple[Tensor, str]]
#: A snapshot for each growth of the iteration count by this share: 60 of them between 50 and 50,000.
GROWTH = 0.12
FIRST = 25
#: Rows of one side: more where they are small, as in 2-D, where a mode holds a few per cent of them.
ROWS_SMALL, ROWS_LARGE, SMALL = 2_500, 1_000, 64
#: Bytes of samples that are kept alive at most, each side.
MOST_BYTES = 128 * 2**20
THUMBS = 64


@dataclass
class _Part:
    samples: Tensor
    version: int
    logits: Tensor | None
    cotangents: Tensor | None

    def intact(self) -> bool:
        return self.samples._version == self.version


class Snapshots:
    """Keeps the last batches of both sides and makes snapshots of them.

    Args:
        embed: samples (n, ...) to embeddings (n, d) and the embedder's name.
        labels: samples to mode labels (n,), or None.
        rows: rows of each side; None chooses by the samples' size.
    """

    def __init__(self, embed: Embed, labels: Callable[[Tensor], Any] | None, rows: int | None) -> None:
        self._embed = embed
        self._labels = labels
        self._rows = rows
        self._sides: dict[str, deque[_Part]] = {"real": deque(), "fake": deque()}
        self._next = FIRST
        self._last = 0

    def keep(self, step: Step) -> None:
        """Take the real and fake batches of D's step."""
        for call in step.of(Kind.REAL, Kind.FAKE):
            self._add(str(call.kind), call, None)
        for call in step.of(Kind.CAT):
            rows = next((t.rows for t in call.sources if t is not None and t.rows is not None), None)
            if rows is not None:
                self._add("real", call, ~rows)
                self._add("fake", call, rows)

    def due(self, iteration: int) -> bool:
        """Whether a snapshot is to be made after this iteration."""
        return iteration >= self._next and self._full()

    def worth_a_last_one(self, iteration: int) -> bool:
        """Whether the end of the run differs from the last snapshot."""
        return iteration > self._last and all(self._sides.values())

    def take(self, iteration: int) -> tuple[Transfer, dict[str, str]]:
        """Embed what is kept; the arrays arrive with the transfer."""
        batches = max(len(side) for side in self._sides.values())
        self._last = iteration
        # Never again before all rows are new: two snapshots that share rows would look alike for nothing.
        self._next = max(iteration + batches, int(iteration * (1 + GROWTH)))
        tensors: dict[str, Tensor] = {}
        meta: dict[str, str] = {}
        joined: dict[str, Tensor] = {}
        for side, parts in self._sides.items():
            intact = [part for part in parts if part.intact()]
            if not intact:
                continue
            x = joined[side] = torch.cat([part.samples for part in intact])
            embedding, meta["embedder"] = self._embed(x)
            tensors[side] = embedding.float() if embedding.shape[1] <= SMALL else embedding.half()
            if all(part.logits is not None for part in intact):
                tensors[f"logits_{side}"] = torch.cat([p.logits for p in intact if p.logits is not None])
            if all(part.cotangents is not None for part in intact):
                tensors[f"cotangents_{side}"] = torch.cat([p.cotangents for p in intact if p.cotangents is not None])
            if self._labels is not None:
                tensors[f"labels_{side}"] = self._label(x)
        meta["samples"] = "x".join(str(size) for size in next(iter(joined.values())).shape[1:]) if joined else ""
        if set(joined) == {"real", "fake"}:
            tensors.update(thumbnails(real=joined["real"], fake=joined["fake"]))
        return Transfer(tensors), meta

    def _label(self, x: Tensor) -> Tensor:
        assert self._labels is not None
        state = torch.get_rng_state()  # the function is the user's and may draw
        labels = torch.as_tensor(np.asarray(_host(self._labels(x)))).to(torch.int64)
        torch.set_rng_state(state)
        if labels.shape != (len(x),):
            raise ValueError(
                f"labels= gave shape {tuple(labels.shape)} for {len(x)} samples; one integer each is wanted"
            )
        return labels

    def _add(self, side: str, call: Call, rows: Tensor | None) -> None:
        x = next((seen for seen in call.inputs if seen.ndim >= 2), None)
        if x is None or not call.intact():
            return
        whole = len(x)
        logits = _per_row(call.output, whole)
        cotangents = _per_row(call.cotangent, whole)
        if logits is not None and call.probability:
            logits = as_logits(logits)
        part = _Part(x, x._version, logits, cotangents)
        if rows is not None:
            part = _Part(x[rows], 0, None if logits is None else logits[rows], None)
            part.version = part.samples._version
        parts = self._sides[side]
        if parts and parts[-1].samples.shape[1:] != part.samples.shape[1:]:
            parts.clear()  # progressive growing
        parts.append(part)
        wanted = self._wanted(part.samples)
        total = sum(len(p.samples) for p in parts)
        while parts and total - len(parts[0].samples) >= wanted:
            total -= len(parts.popleft().samples)

    def _wanted(self, x: Tensor) -> int:
        size = x[0].numel() if len(x) else 1
        rows = self._rows or (ROWS_SMALL if size <= SMALL else ROWS_LARGE)
        return max(1, min(rows, MOST_BYTES // max(1, size * x.element_size())))

    def _full(self) -> bool:
        sides = self._sides.values()
        return all(s and sum(len(p.samples) for p in s) >= self._wanted(s[-1].samples) for s in sides)


def thumbnails(*, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """A few samples of each side as uint8 images (k, h, w, c); empty if the samples are no images.

    Both are scaled by the real samples' range: scaled each by its own, a washed-out fake would look fine.
    """
    if real.ndim not in (3, 4) or real.shape[1:] != fake.shape[1:]:
        return {}
    if (real.ndim == 4 and real.shape[1] not in (1, 3)) or min(real.shape[-2:]) < 4:
        return {}
    low, high = real.amin(), real.amax()
    images = {}
    for name, x in (("thumbs_real", real[-THUMBS:]), ("thumbs_fake", fake[-THUMBS:])):
        x = x.unsqueeze(1) if x.ndim == 3 else x
        step = -(-max(x.shape[-2:]) // 64)
        x = x[..., ::step, ::step]
        scaled = ((x - low) / (high - low).clamp_min(1e-12)).nan_to_num(0.0).clamp(0, 1) * 255
        images[name] = scaled.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return images


def _per_row(x: Tensor | None, rows: int) -> Tensor | None:
    """One number for each sample: patch scores are averaged; None where the rows do not fit."""
    if x is None or x.ndim == 0 or len(x) != rows:
        return None
    return x.reshape(rows, -1).float().mean(dim=1)


def _host(x: Any) -> Any:
    return x.detach().cpu() if isinstance(x, Tensor) else x
