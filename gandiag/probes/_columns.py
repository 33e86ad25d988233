"""From a hundred rows of tensors to columns of numbers, in one transfer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gandiag.probes._transfer import Transfer
from gandiag.probes.base import Row

#: What `numerics/nonfinite` counts.
_JUDGED = ("grad/", "loss/")
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
        scalars: dict[tuple[str, torch.dtype, torch.device], tuple[list[int], list[Tensor]]] = {}
        vectors: dict[tuple[tuple[str, ...], torch.device], tuple[list[int], list[Tensor]]] = {}
        batches: dict[tuple[str, torch.Size, torch.dtype, torch.device], tuple[list[int], list[Tensor]]] = {}
        for i, row in enumerate(rows):
            for name, value in row.scalars.items():
                if isinstance(value, Tensor):
                    _add(scalars, (name, value.dtype, value.device), i, value if value.ndim == 0 else value.reshape(()))
                else:
                    self._numbers[name][i] = float(value)
            for names, vector in row.vectors.items():
                each = list(vector)  # one row may hold a tensor where another holds a list
                indices, values = vectors.setdefault((names, each[0].device), ([], []))
                indices.append(i)
                values += each
            for prefix, (batch, version) in row.batches.items():
                if batch._version == version:
                    _add(batches, (prefix, batch.shape, batch.dtype, batch.device), i, batch)
        with torch.no_grad():
            for (name, _, _), (indices, values) in scalars.items():
                flat.append(self._block((name,), indices, torch.stack(values)))
            for (names, _), (indices, values) in vectors.items():
                table = torch.stack(values).float().reshape(len(indices), -1)
                if table.shape[1] < len(names):
                    total = torch.linalg.vector_norm(table, dim=1, keepdim=True, dtype=torch.float64)
                    table = torch.cat([table, total.float()], dim=1)
                flat.append(self._block(names, indices, table))
            for (prefix, *_), (indices, values) in batches.items():
                columns = reduce(prefix, torch.stack(values).float().reshape(len(indices), -1))
                if columns:  # else the probe that would have reduced it has been switched off
                    table = torch.stack([column.float() for column in columns.values()], dim=1)
                    flat.append(self._block(tuple(columns), indices, table))
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
        bad = np.zeros(count, dtype=np.float32)
        judged = np.zeros(count, dtype=bool)
        for name, numbers in self._numbers.items():
            column = columns.setdefault(name, np.full(count, np.nan, dtype=np.float32))
            indices = list(numbers)
            column[indices] = list(numbers.values())
            if name.startswith(_JUDGED):
                judged[indices] = True
                bad[indices] += ~np.isfinite(column[indices])
        values = list(self._transfer.result().values())
        everything = np.concatenate(values) if values else np.empty(0, dtype=np.float32)
        start = 0
        for block, size in zip(self._order, self._sizes, strict=True):
            names, indices = self._blocks[block]
            table = everything[start : start + size].reshape(len(indices), len(names))
            start += size
            whole = len(indices) == count
            for j, name in enumerate(names):
                if whole:
                    columns[name] = table[:, j].copy()
                    continue
                column = columns.setdefault(name, np.full(count, np.nan, dtype=np.float32))
                column[indices] = table[:, j]
            watched = [j for j, name in enumerate(names) if name.startswith(_JUDGED)]
            if watched:
                judged[indices] = True
                bad[indices] += (~np.isfinite(table[:, watched])).sum(axis=1)
        columns["numerics/nonfinite"] = np.where(judged, bad, np.float32(np.nan))
        return columns

    def _block(self, names: tuple[str, ...], indices: list[int], table: Tensor) -> Tensor:
        self._blocks.append((names, indices))
        return table.float().flatten()


def _add(groups: dict[Any, tuple[list[int], list[Any]]], key: Any, index: int, value: Tensor) -> None:
    group = groups.get(key)
    if group is None:
        groups[key] = ([index], [value])
    else:
        group[0].append(index)
        group[1].append(value)
