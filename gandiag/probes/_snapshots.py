"""Snapshots: samples that the loop itself has made, embedded, at log-spaced iterations.

Nothing is generated for them: the last batches that D saw are kept by reference, which costs no copy and
draws no random number, and joined when a snapshot is due.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gandiag.loop import Call, Step
from gandiag.loop.calls import Kind
from gandiag.loop.pattern import Seen
from gandiag.probes._side import SMALL, Part, Side
from gandiag.probes._thumbnails import thumbnails
from gandiag.probes._transfer import Transfer
from gandiag.probes.base import split_rows
from gandiag.probes.logits import as_logits

Embed = Callable[[Tensor], tuple[Tensor, str]]
#: A snapshot for each growth of the iteration count by this share, and at least so many iterations apart: 55 of them
#: up to 50,000.
GROWTH = 0.12
FIRST = 25


class Snapshots:
    """Keeps the last batches of both sides and makes snapshots of them.

    Args:
        embed: samples (n, ...) to embeddings (n, d) and the embedder's name.
        labels: samples to mode labels (n,), or None.
        rows: rows of each side; None chooses by the samples' size.

    Attributes:
        failed: called with a text and an error when labels or snapshots are switched off.
    """

    def __init__(self, embed: Embed, labels: Callable[[Tensor], Any] | None, rows: int | None) -> None:
        self.failed: Callable[[str, Exception | None], None] = _raise
        self._embed = embed
        self._labels = labels
        self._sides = {"real": Side(rows), "fake": Side(rows)}
        self._probability = False
        self._next = FIRST
        self._taken = 0
        self._off = False

    def keep(self, step: Step) -> None:
        """Take the real and fake batches of D's step."""
        if self._off:
            return
        for call in step.calls:
            if call.kind is Kind.REAL or call.kind is Kind.FAKE:
                self._add(call, (str(call.kind),), None)
            elif call.kind is Kind.CAT and (rows := call.fake_rows) is not None:
                self._add(call, ("real", "fake"), rows)

    def keep_followed(self, seen: list[Seen]) -> None:
        """Take the batches of D's steps in a round that was followed; what D's loss did to them is not known."""
        if not self._off:
            for side, x, version, output in seen:
                self._sides[side].add(Part(x, version, output, self._probability, None))

    def due(self, iteration: int) -> bool:
        """Whether a snapshot is to be made after this iteration."""
        return iteration >= self._next and self._full()

    def worth_a_last_one(self) -> bool:
        """Whether there are new rows enough at the end of the run; those of a short run are better than none."""
        return self._full() if self._taken else all(self._sides.values())

    def take(self, iteration: int) -> tuple[Transfer, dict[str, str]] | None:
        """Embed what is kept, and forget it: two snapshots that share rows would look alike for nothing.

        Returns:
            The arrays, which arrive with the transfer, and words about them; None if there is nothing to keep.
        """
        sides = {name: side.take() for name, side in self._sides.items()}
        self._next = max(iteration + FIRST, int(iteration * (1 + GROWTH)))
        if not all(sides.values()):
            return None
        try:
            tensors, meta = self._make(sides)
        except Exception as error:  # the embedder may be the user's, and samples are of any kind
            self.give_up(error)
            return None
        self._taken += 1
        return Transfer(tensors), meta

    def give_up(self, error: Exception) -> None:
        """Make no more of them."""
        self._off = True
        self.forget()
        self.failed("snapshots failed and were switched off", error)

    def forget(self) -> None:
        """Let go of all samples."""
        for side in self._sides.values():
            side.forget()

    def _make(self, sides: dict[str, list[Part]]) -> tuple[dict[str, Tensor], dict[str, str]]:
        tensors: dict[str, Tensor] = {}
        meta: dict[str, str] = {}
        joined = {name: torch.cat([part.samples for part in parts]) for name, parts in sides.items()}
        for name, parts in sides.items():
            embedding, meta["embedder"] = self._embed(joined[name])
            tensors[name] = embedding.float() if embedding.shape[1] <= SMALL else embedding.half()
            output = _joined([_per_row(part.output, len(part.samples)) for part in parts])
            if output is not None:
                tensors[f"logits_{name}"] = as_logits(output) if parts[-1].probability else output
                meta["output"] = "probability" if parts[-1].probability else "logit"
            if any(part.cotangents is not None for part in parts):
                tensors[f"cotangents_{name}"] = torch.cat([_cotangents(part) for part in parts])
        tensors.update(self._labelled(joined))
        meta["samples"] = "x".join(str(size) for size in joined["real"].shape[1:])
        return {**tensors, **thumbnails(real=joined["real"], fake=joined["fake"])}, meta

    def _labelled(self, joined: dict[str, Tensor]) -> dict[str, Tensor]:
        if self._labels is None:
            return {}
        labels = {}
        try:
            for name, x in joined.items():
                with _streams_kept():  # the function is the user's and may draw
                    answer = self._labels(x)
                found = torch.as_tensor(answer).detach().to(device="cpu", dtype=torch.int64)
                if found.shape != (len(x),):
                    raise ValueError(f"shape {tuple(found.shape)} for {len(x)} samples; one integer each is wanted")
                labels[f"labels_{name}"] = found
        except Exception as error:
            self._labels = None
            self.failed("labels= failed and was switched off, modes are clusters", error)
            return {}
        return labels

    def _add(self, call: Call, sides: tuple[str, ...], fake: Tensor | None) -> None:
        x = call.inputs[0] if len(call.inputs) == 1 else call.main_input
        if x is None or x.ndim < 2 or not x.shape[0]:
            return
        if not call.intact():
            for side in sides:
                self._sides[side].copy = True  # the script fills the same buffer anew for each batch
            return
        self._probability = call.probability
        whole = (x.detach(), call.output, call.cotangent)
        if fake is None:
            parts = [whole]
        else:
            samples, output, cotangents = whole[0], *(_per_row(y, len(fake)) for y in whole[1:])
            split = [split_rows(y, fake) if y is not None else (None, None) for y in (samples, output, cotangents)]
            parts = list(zip(*split, strict=True))
        for side, (samples, output, cotangents) in zip(sides, parts, strict=True):
            self._sides[side].add(Part(samples, samples._version, output, call.probability, cotangents))

    def _full(self) -> bool:
        return all(side.full() for side in self._sides.values())


def _per_row(x: Tensor | None, rows: int) -> Tensor | None:
    """One number for each sample: patch scores are averaged; None where the rows do not fit."""
    if x is None or x.ndim == 0 or x.shape[0] != rows:
        return None
    return x.float() if x.ndim == 1 else x.reshape(rows, -1).float().mean(dim=1)


def _cotangents(part: Part) -> Tensor:
    """One number for each sample; NaN for the batches of a round that was followed, where they are not known."""
    rows = part.samples.shape[0]
    found = _per_row(part.cotangents, rows)
    return part.samples.new_full((rows,), torch.nan, dtype=torch.float32) if found is None else found


def _joined(pieces: list[Tensor | None]) -> Tensor | None:
    found = [piece for piece in pieces if piece is not None]
    return torch.cat(found) if len(found) == len(pieces) else None


@contextmanager
def _streams_kept() -> Iterator[None]:
    """Put every random stream back to where it was."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the stream that scripts use
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


def _raise(text: str, error: Exception | None) -> None:
    raise error or RuntimeError(text)
