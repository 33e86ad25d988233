"""Trains an idiom with fixed seeds, and says in one number what it trained. Knows nothing of gandiag."""

from __future__ import annotations

import functools
import hashlib
import random
from typing import Any

import numpy as np
import torch
from loops.idioms import Idiom, Truth
from torch import nn

#: Rounds of each idiom: enough for the observer to settle by votes what one round leaves open.
STEPS = 16


def name(idiom: Idiom) -> str:
    """`module.function`, for the ids of tests and for tables."""
    return f"{idiom.__module__.rpartition('.')[2]}.{idiom.__name__}"


def train(idiom: Idiom, truth: Truth | None = None) -> dict[str, Any]:
    """Train with fixed seeds of all three random streams."""
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    return idiom(STEPS, Truth(STEPS) if truth is None else truth)


def fingerprint(things: dict[str, Any]) -> str:
    """SHA-256 over all weights, buffers and optimizer states, and the random streams of torch, numpy and Python."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(value.detach().contiguous().numpy().tobytes())
        elif isinstance(value, np.ndarray):
            digest.update(value.tobytes())
        elif isinstance(value, dict):
            for key in value:
                digest.update(str(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            digest.update(repr(value).encode())

    for key in sorted(things):
        thing = things[key]
        add(thing.state_dict() if isinstance(thing, nn.Module | torch.optim.Optimizer) else thing)
    add([torch.get_rng_state(), np.random.get_state(), random.getstate()])
    return digest.hexdigest()


@functools.cache
def plain(idiom: Idiom) -> str:
    """The fingerprint of an idiom that nobody watches."""
    return fingerprint(train(idiom))
