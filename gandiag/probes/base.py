"""What a probe is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from gandiag.loop import Call, Observer, Step
from gandiag.registry import Registry


@dataclass
class Row:
    """What was measured in one iteration. Tensors stay on their device and are not read until the flush.

    Attributes:
        iteration: from 1.
        time: seconds since recording began.
        scalars: column -> a number or a 0-dim tensor.
        vectors: (column, column, ...) -> a tensor of that many numbers.
        batches: prefix -> a 1-dim tensor, such as a batch of logits, that the flush reduces to columns
            `prefix/...` together with those of the other rows; see `Probe.reduce`.
    """

    iteration: int = 0
    time: float = 0.0
    scalars: dict[str, Tensor | float] = field(default_factory=dict)
    vectors: dict[tuple[str, ...], Tensor] = field(default_factory=dict)
    batches: dict[str, Tensor] = field(default_factory=dict)


class Probe:
    """Base of all probes. Every method is optional.

    Attributes:
        name: as in the registry, the docs and the event that says a probe has failed.
        every: in how many iterations it measures once; 1 is each.
    """

    name: str = ""
    every: int = 1

    def wants_features(self, iteration: int) -> bool:
        """Whether D's penultimate features are wanted in the coming iteration."""
        return False

    def call_ended(self, call: Call, role: str, features: Tensor | None, row: Row) -> None:
        """A network has been called; `features` is D's penultimate layer if it was wanted, shape (n, f)."""

    def before_step(self, step: Step, row: Row, observer: Observer) -> None:
        """An optimizer is about to step."""

    def after_step(self, step: Step, row: Row, observer: Observer) -> None:
        """It has stepped."""

    def reduce(self, prefix: str, batch: Tensor) -> dict[str, Tensor]:
        """Columns of a stack of one batch an iteration, shape (t, n), each of shape (t,)."""
        return {}

    def derive(self, columns: dict[str, np.ndarray]) -> None:
        """Add columns that follow from others, each of shape (t,)."""


PROBES: Registry[type[Probe]] = Registry("probe", "gandiag.probes")
P = TypeVar("P", bound=type[Probe])


def probe(name: str) -> Callable[[P], P]:
    """Register a probe under `name`."""

    def decorate(cls: P) -> P:
        cls.name = name
        PROBES.add(name, cls, home=cls.__module__)
        return cls

    return decorate


class Names:
    """The named parameters of each optimizer, walked once: walking the modules costs more than a small step."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, list[tuple[str, torch.nn.Parameter]]]] = {}

    def of(self, step: Step, observer: Observer) -> list[tuple[str, torch.nn.Parameter]]:
        """What the optimizer is about to move, under stable names; without a gradient left out."""
        key, count = id(step.optimizer), sum(len(group["params"]) for group in step.optimizer.param_groups)
        known = self._known.get(key)
        if known is None or known[0] != count:
            known = self._known[key] = (count, _walk(step, observer))
        return [(name, p) for name, p in known[1] if p.grad is not None]


def _walk(step: Step, observer: Observer) -> list[tuple[str, torch.nn.Parameter]]:
    mine = {id(p) for group in step.optimizer.param_groups for p in group["params"]}
    roles = ("g", "d") if step.role == "both" else (step.role,)
    found = []
    for role in roles:
        nets = observer.nets(role)
        for i, net in enumerate(nets):
            prefix = f"{role}/{i}." if len(nets) > 1 else f"{role}/"
            found += [(prefix + n, p) for n, p in net.named_parameters() if id(p) in mine]
    return found
