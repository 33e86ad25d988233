"""Every seed that a script sets is shifted, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from gandiag.boot.seeds import offset_seeds


@pytest.fixture(autouse=True)
def _unpatched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the patched functions and the streams back after each test."""
    homes = [
        (torch, "manual_seed"),
        (torch.random, "manual_seed"),
        (torch.cuda, "manual_seed"),
        (torch.cuda, "manual_seed_all"),
        (random, "seed"),
        (np.random, "seed"),
    ]
    for home, name in homes:
        monkeypatch.setattr(home, name, getattr(home, name))
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        yield
    random.setstate(python)
    np.random.set_state(legacy)


def draws() -> tuple[float, float, float]:
    return torch.rand(1).item(), random.random(), float(np.random.rand())


def test_a_seed_of_7_with_an_offset_of_100_is_a_seed_of_107() -> None:
    """In torch, random and numpy, by position or by keyword."""
    torch.manual_seed(107)
    random.seed(107)
    np.random.seed(107)
    expected = draws()
    offset_seeds(100)
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    assert draws() == expected
    torch.random.manual_seed(seed=np.int64(7))  # type: ignore[arg-type]
    random.seed(a=7)
    np.random.seed(seed=7)
    assert draws() == expected


def test_a_script_that_seeds_nothing_gets_the_offset() -> None:
    """So that two offsets give two runs, and one offset the same run again."""
    offset_seeds(5)
    first = draws()
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    assert draws() == first


def test_an_offset_of_zero_changes_nothing() -> None:
    """Neither the streams nor the functions: a control arm is the script as it is."""
    before = torch.manual_seed, random.seed, np.random.seed
    states = torch.get_rng_state(), random.getstate()
    offset_seeds(0)
    assert (torch.manual_seed, random.seed, np.random.seed) == before
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]


def test_seeds_that_are_no_numbers_pass_and_large_ones_stay_legal() -> None:
    """random.seed takes texts and None, numpy takes arrays and nothing above 2**32."""
    offset_seeds(10)
    random.seed("text")
    expected = random.Random("text").random()
    assert random.random() == expected
    random.seed(None)
    random.seed()
    np.random.seed([1, 2])
    np.random.seed(2**32 - 1)
    assert isinstance(torch.manual_seed(3), torch.Generator)


def test_generators_of_their_own_keep_their_seeds() -> None:
    """Data pipelines draw the same data in every arm."""
    expected = torch.rand(1, generator=torch.Generator().manual_seed(3)), np.random.default_rng(3).random()
    offset_seeds(10)
    assert torch.equal(torch.rand(1, generator=torch.Generator().manual_seed(3)), expected[0])
    assert np.random.default_rng(3).random() == expected[1]
