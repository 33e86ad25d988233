"""`watch(embedder=...)`: one that cannot work in a loop is refused before the training, any other is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.training import Loop

import gandiag
from gandiag.errors import UnknownName, UsageError
from gandiag.rundir import RunReader


@pytest.mark.parametrize(("name", "error"), [("pca", UsageError), ("discriminator", UsageError), ("pac", UnknownName)])
def test_what_cannot_work_is_refused_at_once(tmp_path: Path, name: str, error: Any) -> None:
    """An embedder that must be fitted, that needs a D, or that does not exist, is no reason to lose the snapshots."""
    loop = Loop()
    with pytest.raises(error):
        gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", embedder=name)
    assert not (tmp_path / "run").exists()


def test_a_function_of_your_own(tmp_path: Path) -> None:
    """A function is called with batches of samples, and snapshots hold what it returns."""
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", embedder=lambda x: torch.cat([x, -x], dim=1)):
        loop.train(30)
    snapshot = next(iter(RunReader(tmp_path / "run").snapshots()))
    half = snapshot.real.shape[1] // 2
    assert (snapshot.real[:, :half] == -snapshot.real[:, half:]).all()
