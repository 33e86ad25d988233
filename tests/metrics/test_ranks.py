"""A comparison shared among ranks equals that of one process."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import comparison_of_ranks
from references.mixtures import mixture

from gandiag.metrics import RealSide, compare_over_ranks


def hard_sets() -> tuple[np.ndarray, np.ndarray]:
    """220 reals and fakes with copies, a tight mode and rows that exploded, so that all ways of deciding are taken."""
    real, fake = mixture(220, 8)[0], mixture(220, 8, seed=1)[0]
    real[30:60] = real[30] + 1e-4 * mixture(30, 8, seed=2)[0]
    fake[:20] = real[:20]
    fake[100:110] *= 1e25
    return real, fake


def test_ranks_together_equal_one_process(tmp_path: Path) -> None:
    """Three ranks, one without rows: all get what one process gets, and all refuse other widths and NaN."""
    real, fake = hard_sets()
    np.savez(tmp_path / "sets.npz", real=real, fake=fake)
    words = [sys.executable, "-W", "error", str(Path(comparison_of_ranks.__file__)), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for rank in range(comparison_of_ranks.RANKS):
        found = np.load(tmp_path / f"rank-{rank}.npz")
        assert "columns" in str(found["refused"])
        assert str(found["broken"]).startswith("rank 1: fake has 9 of 9 rows with NaN")
        for name, options in (("plain", {}), ("blocks", {"size": (16, 24)}), ("late", {"size": (16, 24)})):
            alone = asdict(RealSide(real, **options).against(fake))
            for field, expected in alone.items():
                if field.startswith("kernel"):
                    np.testing.assert_allclose(found[f"{name}-{field}"], expected, rtol=1e-12, err_msg=field)
                else:
                    np.testing.assert_array_equal(found[f"{name}-{field}"], expected, err_msg=f"{name} {field}")


def test_without_ranks_it_is_a_plain_pass() -> None:
    """Where torch.distributed is not in use, one process does it all."""
    real, fake = mixture(60, 4)[0], mixture(50, 4, seed=1)[0]
    assert torch.equal(compare_over_ranks(real=real, fake=fake).holding, RealSide(real).against(fake).holding)


@pytest.mark.parametrize("field", ["fakes_in", "holding", "repeats_real"])
def test_the_hard_sets_are_hard(field: str) -> None:
    """The rows above are such that answers differ among rows, else equality would say little."""
    found = getattr(RealSide(hard_sets()[0]).against(hard_sets()[1]), field)
    assert len(found.unique()) > 1
