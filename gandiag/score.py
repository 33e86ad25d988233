"""The verb `score`: two sets of samples in, every metric with its null and the fate of each mode out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gandiag.embed import embed
from gandiag.errors import ShapeError
from gandiag.metrics import Measure, ModeTable, assign, find_modes, measure_all, mode_table

SCHEMA = "gandiag.scores/1"
SEED = 0


@dataclass(frozen=True)
class Scores:
    """What `score` found.

    Attributes:
        metrics: name to measure, each with its null and its intervals.
        modes: the fate of each mode of the data, None where the data have no modes to be found.
        embedder: what made the embeddings that everything was measured on.
    """

    metrics: dict[str, Measure]
    modes: ModeTable | None
    embedder: str

    def to_json(self) -> dict[str, Any]:
        """As plain values that strict JSON can hold."""
        return {
            "schema": SCHEMA,
            "embedder": self.embedder,
            "modes": None if self.modes is None else self.modes.to_json(),
            "metrics": {name: measure.to_json() for name, measure in self.metrics.items()},
        }


def score(*, real: Any, fake: Any, labels: Any = None, embedder: str = "auto") -> Scores:
    """Compare generated samples with data.

    The data are shuffled and cut in two: one half is what the fakes are held against, the other one gives the null,
    so give twice as many real as fake samples where you can. Modes are looked for in all of the data.

    Args:
        real: `[n, ...]` samples of data, a tensor or an array of any kind; at least 32.
        fake: `[m, ...]` generated samples of the same shape; at least 16.
        labels: `[n]` integer class of each real sample, used as its mode; without them modes are found.
        embedder: a name in `gandiag.embed.EMBEDDERS`, `"auto"`, or `"module:function"`.

    Raises:
        ShapeError: shapes differ, there are too few samples, or samples are not finite.
    """
    real, fake = _batch(real, "real"), _batch(fake, "fake")
    if real.shape[1:] != fake.shape[1:]:
        raise ShapeError(
            f"a real sample has shape {list(real.shape[1:])} and a fake one {list(fake.shape[1:])}; "
            "resize or crop them alike"
        )
    real, name = embed(real, embedder=embedder)
    fake, name = embed(fake, embedder=name)
    order = torch.from_numpy(np.random.default_rng(SEED).permutation(len(real)))
    reference, held_out = order.tensor_split(2)
    return Scores(
        metrics=measure_all(real=real[reference], held_out=real[held_out], fake=fake, seed=SEED),
        modes=_modes(real, fake, labels),
        embedder=name,
    )


def _modes(real: Tensor, fake: Tensor, labels: Any) -> ModeTable | None:
    found = find_modes(real, seed=SEED) if labels is None else labels
    if labels is None and found.max() < 0:
        return None
    theirs = assign(real=real, real_labels=found, fake=fake)
    return mode_table(
        real=real,
        real_labels=found,
        fake=fake,
        fake_labels=theirs,
        source="clusters" if labels is None else "labels",
    )


def _batch(x: Any, name: str) -> Tensor:
    try:
        return torch.as_tensor(np.array(x) if isinstance(x, np.ndarray) else x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(f"{name} cannot be read as an array of numbers ({error}); give [n, ...] samples") from error
