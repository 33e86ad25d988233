"""Techniques on loops as people write them: each trains on, or is refused with the reason."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from loops._training import name, train
from loops._watched import few_objects
from loops.idioms import IDIOMS, Idiom, Truth
from torch import nn

from gandiag.errors import RolesUnclear, TechniqueRefused
from gandiag.watch import Run

#: One of each kind: added, taken over, at D's input, into G, inside D, around the step, weights, the script's loss.
KINDS = (
    "r1:gamma=0.01",
    "hinge",
    "instance_noise",
    "feature_matching",
    "spectral_norm",
    "pacgan",
    "grad_clip",
    "sgd",
    "l2",
    "mode_seeking:weight=0.001",
    "replay:size=32",
    "ema",
)
#: Each loop meets one of them, and each of them a dozen loops.
MEETINGS = [(idiom, KINDS[i % len(KINDS)]) for i, idiom in enumerate(IDIOMS)]


@pytest.fixture(autouse=True)
def _single_precision() -> None:
    torch.set_default_dtype(torch.float32)  # the idioms are written for it


@pytest.mark.parametrize(("idiom", "technique"), MEETINGS, ids=[f"{name(i)} {t}" for i, t in MEETINGS])
def test_it_trains_or_says_why_not(idiom: Idiom, technique: str) -> None:
    """No error but a refusal reaches the script, and what trains stays finite."""
    refused = ""
    with few_objects(), tempfile.TemporaryDirectory() as folder:
        run = Run(run_dir=Path(folder) / "run", techniques=[technique], strict=True, say=lambda text: None)
        try:
            things = train(idiom, Truth(16))
        except (TechniqueRefused, RolesUnclear) as error:
            refused, things = str(error), {}
        finally:
            run.close()
    assert len(refused) > 40 or things
    nets = [thing for thing in things.values() if isinstance(thing, nn.Module)]
    assert all(p.isfinite().all() for net in nets for p in net.parameters())
