"""What every test shares: `tests/` on the path, one thread, no run that reaches into the caller's environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

# importlib mode puts nothing on sys.path, so that the tests also run against the built wheel from outside
# the checkout; the slow twins and helpers still need a home to be imported from.
sys.path.insert(0, str(Path(__file__).parent))

# Small tensors: more threads only fight with the other workers, and sums would depend on the machine.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_watching_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test session that is itself watched by `gandiag run` must not hand that on to what it starts."""
    for name in [name for name in os.environ if name.startswith("GANDIAG_")]:
        monkeypatch.delenv(name)
