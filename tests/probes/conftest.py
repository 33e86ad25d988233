"""One watched training, shared by the probes' tests: each looks at its own columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.training import Loop

import gandiag
from gandiag.rundir import RunReader

Recorded = dict[str, np.ndarray]
Record = Callable[..., tuple[Recorded, RunReader]]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Train a loop under `gandiag.watch(strict=True)`; its columns and its run."""

    def train(loop: Loop, steps: int, **options: Any) -> tuple[Recorded, RunReader]:
        path = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        with gandiag.watch(loop.g, loop.d, run_dir=path, strict=True, **options):
            loop.train(steps)
        reader = RunReader(path)
        return reader.scalars(), reader

    return train
