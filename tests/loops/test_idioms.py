"""The observer on loops as people write them: labels are right, and nothing is disturbed."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from idioms import IDIOMS, Idiom, Truth

from gandiag.loop import Observer
from gandiag.watch import Run

STEPS = 12


def fingerprint(things: dict[str, Any]) -> str:
    """SHA-256 over all weights, buffers, optimizer states and torch's random stream."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(value.detach().contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                add(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            digest.update(repr(value).encode())

    for name in sorted(things):
        thing = things[name]
        add(thing.state_dict() if isinstance(thing, nn.Module | torch.optim.Optimizer) else thing)
    digest.update(torch.get_rng_state().numpy().tobytes())
    return digest.hexdigest()


def train(idiom: Idiom, truth: Truth) -> str:
    torch.manual_seed(3)
    return fingerprint(idiom(STEPS, truth))


@pytest.mark.parametrize("idiom", IDIOMS, ids=lambda f: f.__name__)
def test_every_training_call_is_labelled_right_without_any_hint(idiom: Idiom) -> None:
    """Kinds and phases equal the truth that the loop counted itself; none is wrong and none unknown."""
    observer = Observer(strict=True)
    observer.open()
    truth: Truth = Counter()
    try:
        train(idiom, truth)
    finally:
        observer.close()
    counted = {(k, p): n for k, phases in observer.tally.to_json().items() for p, n in phases.items() if k != "eval"}
    assert counted == dict(truth)
    assert observer.iteration in (STEPS, STEPS - 1)
    assert observer.roles.confidence() > 0.9


@pytest.mark.parametrize("idiom", IDIOMS, ids=lambda f: f.__name__)
def test_watching_changes_no_bit(idiom: Idiom, tmp_path: Path) -> None:
    """Weights, buffers, optimizer states and the random stream are the same with all probes recording."""
    plain = train(idiom, Counter())
    run = Run(run_dir=tmp_path / "run", strict=True, options={"snapshot_rows": 32})
    try:
        watched = train(idiom, Counter())
    finally:
        run.close()
    assert watched == plain
    assert (tmp_path / "run" / "run.json").is_file()


@pytest.mark.parametrize("idiom", IDIOMS, ids=lambda f: f.__name__)
def test_losses_are_found_without_help(idiom: Idiom, tmp_path: Path) -> None:
    """Each iteration has a finite loss of D and of G."""
    from gandiag.rundir import RunReader

    run = Run(run_dir=tmp_path / "run", strict=True)
    try:
        train(idiom, Counter())
    finally:
        run.close()
    scalars = RunReader(tmp_path / "run").scalars()
    # In a loop that steps G first, the first iteration ends before D has ever stepped.
    assert torch.isfinite(torch.as_tensor(scalars["loss/g"])).all()
    assert torch.isfinite(torch.as_tensor(scalars["loss/d"][1:])).all()


def test_torch_is_left_as_it_was() -> None:
    """After close, every tapped function and class is the original again."""
    before = torch.autograd.grad, torch.autograd.backward, torch.optim.Optimizer.add_param_group, nn.Sequential.forward
    observer = Observer(strict=True)
    observer.open()
    train(IDIOMS[0], Counter())
    assert torch.autograd.grad is not before[0]
    observer.close()
    after = torch.autograd.grad, torch.autograd.backward, torch.optim.Optimizer.add_param_group, nn.Sequential.forward
    assert after == before
