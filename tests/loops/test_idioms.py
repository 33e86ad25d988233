"""The observer on loops as people write them: labels are right, and nothing is disturbed."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from loops._training import fingerprint, name, plain, train
from loops._watched import table, watched
from loops.idioms import IDIOMS, Idiom, _parts
from torch import nn
from torch.optim import optimizer

from gandiag.loop import Observer

each_idiom = pytest.mark.parametrize("idiom", IDIOMS, ids=name)


@each_idiom
def test_no_training_call_is_labelled_wrong(idiom: Idiom) -> None:
    """Kinds and phases are those that the loop counted itself, or unknown; no training call is missed or made up."""
    seen = watched(idiom)
    assert not seen.wrong(), table([idiom])
    assert sum(seen.counted.values()) == sum(seen.truth.values()), table([idiom])


def test_of_all_training_calls_99_percent_are_labelled() -> None:
    """Over the whole suite at most one call in a hundred stays unknown."""
    seen = [watched(idiom) for idiom in IDIOMS]
    right, all_calls = sum(one.right() for one in seen), sum(sum(one.truth.values()) for one in seen)
    assert right >= 0.99 * all_calls, f"{right} of {all_calls} right\n" + table(IDIOMS)


@each_idiom
def test_iterations_are_the_steps_of_g(idiom: Idiom) -> None:
    """As many iterations are counted as G steps in the script; the one before the roles are known may be missed."""
    seen = watched(idiom)
    wanted = seen.truth.iterations
    if wanted is None:  # the idiom says that it cannot be known from outside
        assert seen.iterations > 0
    else:
        assert seen.iterations in (wanted, wanted - 1)


@each_idiom
def test_watching_changes_no_bit(idiom: Idiom) -> None:
    """Weights, buffers, optimizer states and all three random streams are the same with all probes recording."""
    assert watched(idiom).fingerprint == plain(idiom)


@each_idiom
def test_losses_are_found_without_help(idiom: Idiom) -> None:
    """Each iteration has a finite loss of D and of G, but for those without a step of that net."""
    seen = watched(idiom)
    for phase in {phase for _, phase in seen.truth}:
        # In a loop that steps G first, the first iteration ends before D has ever stepped.
        losses = torch.as_tensor(seen.scalars[f"loss/{phase}"])[1:]
        if seen.truth.gaps:
            losses = losses[~losses.isnan()]
        assert len(losses) > 0
        assert torch.isfinite(losses).all()


@pytest.mark.parametrize(
    "stream", [lambda: torch.rand(1), np.random.rand, random.random], ids=["torch", "numpy", "python"]
)
def test_the_fingerprint_sees_one_draw(stream: Callable[[], object]) -> None:
    """A single number drawn from any of the three streams changes it: the test of bits above could fail."""
    before = fingerprint({})
    assert fingerprint({}) == before
    stream()
    assert fingerprint({}) != before


def test_torch_is_left_as_it_was() -> None:
    """After close, every tapped function and class is the original again."""
    homes = (torch.autograd, torch.autograd.graph, torch.Tensor, torch.optim.Optimizer, torch.amp.GradScaler)
    homes += (nn.Module, nn.Sequential, _parts.Gen, _parts.Disc)

    def attributes() -> list[dict[str, object]]:
        return [dict(vars(home)) for home in homes]

    train(IDIOMS[0])  # what torch itself sets up at first use
    before = attributes()
    observer = Observer(strict=True)
    observer.open()
    train(IDIOMS[0])
    assert attributes() != before
    observer.close()
    assert attributes() == before
    assert not optimizer._global_optimizer_pre_hooks
    assert not optimizer._global_optimizer_post_hooks
