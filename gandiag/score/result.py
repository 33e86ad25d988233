"""What `score` hands back."""

from __future__ import annotations

import importlib
import math
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gandiag.metrics import Measure, ModeTable
from gandiag.score.reading import Reading

SCHEMA = "gandiag.scores/1"


@dataclass(frozen=True, eq=False)
class Shown:
    """What the report's figures show of one side.

    Attributes:
        rows: `[n, d]` float32 embeddings, some of them.
        total: how many there are.
        pictures: `[p, h, w, c]` uint8; None where samples are no images.
        samples: `[p]` which sample each picture is of.
    """

    rows: NDArray[np.float32]
    total: int
    pictures: NDArray[np.uint8] | None = None
    samples: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))


@dataclass(frozen=True)
class Scores:
    """What `score` found.

    Attributes:
        reading: what is wrong, in a sentence and by name.
        metrics: name to measure, each with its null and its intervals.
        modes: the fate of each mode of the data, None where the data have no modes to be found.
        embedder: what made the embeddings that everything was measured on.
        reason: why it was this one.
        notes: what was done to the samples before they were compared.
        cautions: what makes these numbers mean less than they seem to.
        n_real: real samples that were measured.
        n_fake: generated samples that were embedded; `Measure.n_fake` says how many of them a metric saw.
        left_out: "real" and "fake" to indices of the samples with NaN or infinity.
        real: what figures show of the data.
        fake: what they show of the generated samples.
    """

    reading: Reading
    metrics: dict[str, Measure]
    modes: ModeTable | None
    embedder: str
    reason: str
    notes: tuple[str, ...]
    cautions: tuple[str, ...]
    n_real: int
    n_fake: int
    left_out: dict[str, tuple[int, ...]]
    real: Shown = field(repr=False, compare=False)
    fake: Shown = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """As plain values that strict JSON can hold: a number that is not finite is None."""
        values = {
            "schema": SCHEMA,
            "reading": asdict(self.reading),
            "embedder": self.embedder,
            "reason": self.reason,
            "notes": self.notes,
            "cautions": self.cautions,
            "n_real": self.n_real,
            "n_fake": self.n_fake,
            "left_out": self.left_out,
            "modes": None if self.modes is None else self.modes.to_json(),
            "metrics": {name: measure.to_json() for name, measure in self.metrics.items()},
        }
        plain = _plain(values)
        assert isinstance(plain, dict)
        return plain

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the self-contained report and return where it lies.

        Raises:
            UsageError: the file cannot be written.
        """
        return Path(_report().write(self, Path(path)))

    def to_png(self, path: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write the report's figures: all in one `.png` file, or into a folder each as a file of its own.

        Raises:
            UsageError: a path that is neither, or that cannot be written.
        """
        return tuple(_report().write_pictures(self, Path(path)))


def in_samples(table: ModeTable, *, real: NDArray[np.int64], fake: NDArray[np.int64]) -> ModeTable:
    """A mode table whose exemplars are samples as they were given, not rows that were measured.

    Args:
        table: with rows.
        real: which sample each real row is of.
        fake: which sample each row of the fakes is of.
    """
    modes = (
        replace(mode, real_indices=_of(real, mode.real_indices), fake_indices=_of(fake, mode.fake_indices))
        for mode in table.modes
    )
    return replace(table, modes=tuple(modes))


def _of(samples: NDArray[np.int64], rows: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(samples[list(rows)].tolist())


def _report() -> Any:
    return importlib.import_module("gandiag.report.scores_page")  # a higher layer: it knows scores, not the other way


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
