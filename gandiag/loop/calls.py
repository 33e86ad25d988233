"""What a network call was, and which optimizer step used it."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


class Kind(enum.StrEnum):
    """What a call of a discriminator saw."""

    REAL = "real"
    FAKE = "fake"
    CAT = "cat"  # real and fake rows in one argument
    PAIR = "pair"  # real and fake as two arguments
    PENALTY = "penalty"  # gradients reached it only from inside torch.autograd.grad
    EVAL = "eval"  # no step used it: pictures, evaluation, dead calls
    UNKNOWN = "unknown"


class Phase(enum.StrEnum):
    """Whose optimizer step used the call."""

    D = "d"
    G = "g"
    NONE = "none"


@dataclass(slots=True, eq=False)
class Call:
    """One outermost call of a unit.

    Holds detached tensors only: a reference to a tensor with a graph would keep the graph alive, and the
    hook that waits for the output's gradient would close a reference cycle with it.
    """

    unit: nn.Module
    owner: frozenset[int]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    grad_enabled: bool
    inputs: list[Tensor] = field(default_factory=list)  # floating tensors among the arguments, detached
    seen: list[Tensor] = field(default_factory=list)  # the same after any change of D's input, detached
    sources: list[Trace | None] = field(default_factory=list)  # where each input came from
    output: Tensor | None = None  # the first floating leaf of the output, detached
    cotangent: Tensor | None = None  # d loss / d output of the first plain backward that reached it
    leaf: int | None = None  # which leaf of the output that is: the first one that a plain gradient reached
    plain: bool = False  # reached by loss.backward()
    inside_grad: bool = False  # reached from inside torch.autograd.grad
    probability: bool = False  # the output is the result of a sigmoid
    kind: Kind = Kind.UNKNOWN
    phase: Phase = Phase.NONE
    age: int = 0  # optimizer steps that passed without a gradient reaching the call
    versions: list[int] = field(default_factory=list)

    @property
    def reached(self) -> bool:
        """Whether any backward pass came through this call."""
        return self.plain or self.inside_grad

    @property
    def main_input(self) -> Tensor | None:
        """The samples: the first floating input with a batch axis, shape (n, ...)."""
        return next((x for x in self.inputs if x.ndim >= 2), None)

    def intact(self) -> bool:
        """Whether no input was overwritten in place since the call (static input buffers are)."""
        return all(x._version == version for x, version in zip(self.inputs, self.versions, strict=True))


@dataclass(slots=True)
class Trace:
    """Where a tensor came from: a unit's output, in whole or in some rows."""

    call: Call
    rows: Tensor | None = None  # bool (n,): which rows; None means all of them
    by_rows: bool = False  # found by comparing values


@dataclass(slots=True)
class Step:
    """One optimizer step, with the calls and the losses that fed it."""

    role: str  # "d", "g" or "both"
    optimizer: torch.optim.Optimizer
    index: int  # steps of this role before this one
    iteration: int  # the iteration that this step belongs to, from 1
    calls: list[Call]
    losses: list[Tensor]  # the scalars whose backward() fed the step, detached

    def of(self, *kinds: Kind) -> Iterator[Call]:
        """The calls of D of these kinds that fed this step."""
        return (call for call in self.calls if call.kind in kinds)


class Tally:
    """Counts D's calls by kind and phase: the field `d_calls` of run.json."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, int]] = {}

    def add(self, call: Call) -> None:
        """Count one settled call."""
        phases = self.counts.setdefault(str(call.kind), {})
        phases[str(call.phase)] = phases.get(str(call.phase), 0) + 1

    def to_json(self) -> dict[str, dict[str, int]]:
        """A copy, `{kind: {phase: count}}`."""
        return {kind: dict(phases) for kind, phases in self.counts.items()}


def leaves(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """All floating-point tensors inside nested lists, tuples, dicts and dataclass-like outputs."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif depth < 4:
        if isinstance(value, dict):
            value = value.values()
        elif not isinstance(value, list | tuple):
            return
        for item in value:
            yield from leaves(item, depth + 1)


def ends_in_sigmoid(output: Tensor) -> bool:
    """Whether a tensor is a sigmoid's result, looked at through views: its autograd node says so."""
    node = output.grad_fn
    for _ in range(6):
        if node is None:
            return False
        name = type(node).__name__
        if name.startswith("SigmoidBackward"):
            return True
        if not any(word in name for word in ("View", "Squeeze", "Reshape", "Select", "Flatten", "Slice", "Alias")):
            return False
        node = node.next_functions[0][0] if node.next_functions else None
    return False


def detached(value: Any) -> Any:
    """The same structure with every tensor detached."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {key: detached(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(detached(item) for item in value)
    return value


def is_functorch(x: Tensor) -> bool:
    """Whether a tensor is a wrapper inside torch.func, which must not be kept or hooked."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(x))
