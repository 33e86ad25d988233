"""Recorded runs whose fakes are drawn from mixtures with a known fault: the truth is known, no training needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from helpers.runs import write_run

Rows = np.ndarray
Fake = Callable[[int, np.random.Generator], Rows]
"""Samples at a step (of 1..iterations)."""

MODES, STD, ROWS = 8, 0.15, 300
STEPS = (50, 100, 300, 450, 600, 750, 900, 1000)
ITERATIONS = 1000


def centres(d: int = 2, modes: int = MODES) -> Rows:
    """[modes, d] on a circle of radius 2, in the first two dimensions."""
    angles = 2 * np.pi * np.arange(modes) / modes
    made = np.zeros((modes, d))
    made[:, 0], made[:, 1] = 2 * np.cos(angles), 2 * np.sin(angles)
    return made


def mixture(
    count: int, rng: np.random.Generator, *, modes: Sequence[int] = range(MODES), shrink: float = 1.0, d: int = 2
) -> Rows:
    """[count, d] samples of some of the modes, with `shrink` times the real spread."""
    which = rng.choice(np.array(modes), count)
    return (centres(d)[which] + STD * shrink * rng.standard_normal((count, d))).astype(np.float32)


def curves(iterations: int = ITERATIONS, *, seed: int = 0) -> dict[str, Rows]:
    """The scalars of a healthy training: noisy, and nothing wrong with them."""
    rng = np.random.default_rng(seed)
    noise = lambda scale: scale * rng.standard_normal(iterations)  # noqa: E731
    return {
        "loss/d": 1.2 + noise(0.1),
        "loss/g": 0.9 + noise(0.1),
        "d/logits/real/mean": 0.5 + noise(0.2),
        "d/logits/fake/mean": -0.5 + noise(0.2),
        "d/accuracy": np.clip(0.7 + noise(0.05), 0, 1),
        "grad/d/total": np.exp(noise(0.3)),
        "grad/g/total": np.exp(noise(0.3)),
        "sample/std_ratio": 0.95 + noise(0.02),
        "numerics/nonfinite": np.zeros(iterations),
    }


def recorded(
    path: Path,
    fake: Fake,
    *,
    steps: Sequence[int] = STEPS,
    rows: int = ROWS,
    labels: bool = False,
    scalars: dict[str, Rows] | None = None,
    seed: int = 0,
    **info: Any,
) -> Path:
    """Write a run whose snapshots hold the 8-mode mixture as real rows and `fake(step, rng)` as fakes."""
    rng = np.random.default_rng(seed)
    snapshots = []
    for step in steps:
        made = fake(step, rng)
        real = mixture(rows, rng, d=made.shape[1])
        snapshot: dict[str, Any] = {"step": step, "real": real, "fake": made.astype(np.float32)}
        if labels:
            nearest = np.linalg.norm(real[:, None] - centres(made.shape[1]), axis=2).argmin(axis=1)
            snapshot["labels_real"] = nearest.astype(np.int64)
        snapshots.append(snapshot)
    return write_run(path, scalars=curves(seed=seed) if scalars is None else scalars, snapshots=snapshots, info=info)


def learning(step: int, rng: np.random.Generator, rows: int = ROWS) -> Rows:
    """A healthy generator: a blur at first, then all modes, slightly too wide."""
    blur = 1.0 + 20 * np.exp(-step / 60)
    return mixture(rows, rng, shrink=1.1 * blur)


def losing_three(step: int, rng: np.random.Generator) -> Rows:
    """Complete until 450, then modes 1, 4 and 6 are gone for good."""
    return learning(step, rng) if step <= 450 else mixture(ROWS, rng, modes=[0, 2, 3, 5, 7])


def shrinking(step: int, rng: np.random.Generator) -> Rows:
    """All modes, but each is next to a point from 600 on."""
    return learning(step, rng) if step < 600 else mixture(ROWS, rng, shrink=0.1)


def one_point(step: int, rng: np.random.Generator) -> Rows:
    """One and the same sample from 300 on."""
    return learning(step, rng) if step < 300 else np.ones((ROWS, 2)) + 1e-3 * rng.standard_normal((ROWS, 2))


def hopping(step: int, rng: np.random.Generator) -> Rows:
    """Three modes at a time, other ones at each look."""
    first = 3 * STEPS.index(step)
    return mixture(ROWS, rng, modes=[(first + offset) % MODES for offset in range(3)])


def garbage(step: int, rng: np.random.Generator) -> Rows:
    """Far from the data, at all times."""
    return 20 + 3 * rng.standard_normal((ROWS, 2))
