"""Techniques over several ranks: gandiag's own gradients are averaged as the script's are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import techniques_over_ranks
from helpers.gan_loops import assert_same
from helpers.ranks import JOINT, RANKS
from helpers.techniques_over_ranks import SETS, trained


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, torch.Tensor]]]:
    """What each of two DDP ranks ends with, for each set of techniques."""
    folder = tmp_path_factory.mktemp("ranks")
    words = [sys.executable, "-W", "error", str(Path(techniques_over_ranks.__file__)), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"rank-{rank}.pt") for rank in range(RANKS)]


@pytest.mark.parametrize("i", range(len(SETS)), ids=[" ".join(set_) for set_ in SETS])
def test_two_ranks_train_as_one_process_with_the_whole_batch(
    i: int, ends: list[list[dict[str, torch.Tensor]]], tmp_path: Path
) -> None:
    """Each rank has half of each batch; both end with the weights of one process that has all of it, within 1e-6.

    The added parameters too. Means of halves are averaged, so sums are taken in another order.
    """
    alone = trained(SETS[i], slice(0, JOINT), tmp_path / "run", together=False)
    for rank in ends:
        assert_same(rank[i], alone, within=1e-6)
