"""From a hundred rows of tensors to columns of numbers, in one transfer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gandiag.probes._transfer import Transfer
from gandiag.probes.base import Row

Reduce = Callable[[str, Tensor], dict[str, Tensor]]


class Columns:
    """The columns of some rows, on their way to the host.

    Rows differ in what they hold, so equal things are grouped into blocks (names, row numbers, values), the
    blocks of one device are joined into one flat tensor, and that is copied once.

    Args:
        rows: at least one.
        reduce: makes columns of a stack of batches, see `Probe.reduce`.
    """

    def __init__(self, rows: list[Row], reduce: Reduce) -> None:
        self._rows = rows
        self._blocks: list[tuple[tuple[str, ...], list[int]]] = []
        self._numbers: dict[str, dict[int, float]] = defaultdict(dict)
        flat: list[Tensor] = []
        scalars: dict[str, list[tuple[int, Tensor]]] = defaultdict(list)
        vectors: dict[tuple[str, ...], list[tuple[int, Tensor]]] = defaultdict(list)
        batches: dict[tuple[str, int], list[tuple[int, Tensor]]] = defaultdict(list)
        for i, row in enumerate(rows):
            for name, value in row.scalars.items():
                if isinstance(value, Tensor):
                    scalars[name].append((i, value.reshape(())))
                else:
                    self._numbers[name][i] = float(value)
            for names, vector in row.vectors.items():
                vectors[names].append((i, vector))
            for prefix, batch in row.batches.items():
                batches[prefix, batch.numel()].append((i, batch))
        with torch.no_grad():
            for name, items in scalars.items():
                flat.append(self._block((name,), items))
            for names, items in vectors.items():
                flat.append(self._block(names, items))
            for (prefix, _), items in batches.items():
                stacked = torch.stack([batch.float() for _, batch in items])
                columns = reduce(prefix, stacked)
                if not columns:  # the probe that would have reduced it has been switched off
                    continue
                self._blocks.append((tuple(columns), [i for i, _ in items]))
                flat.append(torch.stack([column.float() for column in columns.values()], dim=1).flatten())
            by_device: dict[torch.device, list[int]] = defaultdict(list)
            for i, block in enumerate(flat):
                by_device[block.device].append(i)
            self._order = [i for members in by_device.values() for i in members]
            self._sizes = [flat[i].numel() for i in self._order]
            joined = {str(d): torch.cat([flat[i] for i in members]) for d, members in by_device.items()}
        self._transfer = Transfer(joined)

    def ready(self) -> bool:
        """Whether `result` would not wait."""
        return self._transfer.ready()

    def result(self) -> dict[str, np.ndarray]:
        """Columns by name, each of shape (rows,), NaN where a row has no value."""
        count = len(self._rows)
        columns: dict[str, np.ndarray] = {
            "iteration": np.array([row.iteration for row in self._rows], dtype=np.int64),
            "time": np.array([row.time for row in self._rows], dtype=np.float32),
        }
        for name, numbers in self._numbers.items():
            column = columns.setdefault(name, np.full(count, np.nan, dtype=np.float32))
            for i, number in numbers.items():
                column[i] = number
        values = list(self._transfer.result().values())
        everything = np.concatenate(values) if values else np.empty(0, dtype=np.float32)
        bad = np.zeros(count, dtype=np.float32)
        start = 0
        for block, size in zip(self._order, self._sizes, strict=True):
            names, indices = self._blocks[block]
            table = everything[start : start + size].reshape(len(indices), len(names))
            start += size
            for j, name in enumerate(names):
                column = columns.setdefault(name, np.full(count, np.nan, dtype=np.float32))
                column[indices] = table[:, j]
                if name.startswith(("grad/", "loss/")):
                    bad[indices] += ~np.isfinite(table[:, j])
        columns["numerics/nonfinite"] = bad
        return columns

    def _block(self, names: tuple[str, ...], items: list[tuple[int, Tensor]]) -> Tensor:
        self._blocks.append((names, [i for i, _ in items]))
        return torch.stack([value.float() for _, value in items]).flatten()
