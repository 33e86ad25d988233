"""What a probe is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

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


PROBES: Registry[type[Probe]] = Registry("probe", "gandiag.probes")
P = TypeVar("P", bound=type[Probe])


def probe(name: str) -> Callable[[P], P]:
    """Register a probe under `name`."""

    def decorate(cls: P) -> P:
        cls.name = name
        PROBES.add(name, cls, home=cls.__module__)
        return cls

    return decorate


def parameter_names(observer: Observer, step: Step) -> list[tuple[str, torch.nn.Parameter]]:
    """The parameters that an optimizer is about to move, with stable names, those without a gradient left out."""
    mine = {id(p) for group in step.optimizer.param_groups for p in group["params"]}
    roles = ("g", "d") if step.role == "both" else (step.role,)
    found = []
    for role in roles:
        nets = observer.nets(role)
        for i, net in enumerate(nets):
            prefix = f"{role}/{i}." if len(nets) > 1 else f"{role}/"
            found += [(prefix + n, p) for n, p in net.named_parameters() if id(p) in mine and p.grad is not None]
    return found
