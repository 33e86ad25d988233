"""What a network call was, and which optimizer step used it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


class Call:
    """One outermost call of a unit.

    Holds tensors without a graph only: a reference to a graph would keep it alive, and the hook that waits for
    the output's gradient would close a reference cycle with it. Not a dataclass, as one is made for each call of
    each net and its generated `__init__` takes twice as long.

    Attributes:
        unit, owner: the net, and the set of optimizers that hold its parameters.
        args, kwargs: as passed, detached.
        grad_enabled: whether autograd was on.
        inputs: the floating tensors among the arguments.
        sources: where each of them came from.
        versions: their version counters at the call.
        attached: whether a gradient could flow from the call into what made an input.
        frozen: attached, and no parameter of the net took gradients at the call: no step of D can use it.
        of_g: it is a call of a generator.
        joined: it goes on where a call of another part of the same net ended; `args` are its own.
        seen: the inputs after any change that a technique made to them.
        output: the first floating leaf of the output, or the first one that a plain gradient reached.
        leaf: which one that is.
        cotangent: d loss / d output of the last plain backward pass that reached it.
        plain: reached by loss.backward().
        inside_grad: reached from inside torch.autograd.grad.
        targets: the roles whose gradients the backward passes may have filled: "dg", or fewer where `inputs=` said so.
        passes: the number of the last backward pass that reached it.
        closed: the roles whose gradients from this call have been cleared, so that no step of theirs can use it.
        probability: the output is the result of a sigmoid.
        guessed_rows: which rows are fake where votes say so, see `votes`.
        clean: no net has touched its inputs, so the taint pass says; None without it.
        gated, side, changed: for the director's use.
        kind, phase: what it was, once a step has settled it.
        age: optimizer steps that have passed without using it.
    """

    __slots__ = (
        "age",
        "args",
        "attached",
        "changed",
        "clean",
        "closed",
        "cotangent",
        "frozen",
        "gated",
        "grad_enabled",
        "guessed_rows",
        "inputs",
        "inside_grad",
        "joined",
        "kind",
        "kwargs",
        "leaf",
        "of_g",
        "output",
        "owner",
        "passes",
        "phase",
        "plain",
        "probability",
        "seen",
        "side",
        "sources",
        "targets",
        "unit",
        "versions",
    )

    def __init__(
        self, unit: nn.Module, owner: frozenset[int], args: tuple[Any, ...], kwargs: dict[str, Any], grad_enabled: bool
    ) -> None:
        self.unit = unit
        self.owner = owner
        self.args = args
        self.kwargs = kwargs
        self.grad_enabled = grad_enabled
        self.inputs: list[Tensor] = []
        self.sources: list[Trace | None] = []
        self.versions: list[int] = []
        self.attached = False
        self.frozen = False
        self.gated = False
        self.changed: dict[str, Any] | None = None
        self.side = ""
        self.of_g = False
        self.joined = False
        self.seen: list[Tensor] = self.inputs
        self.output: Tensor | None = None
        self.leaf: int | None = None
        self.cotangent: Tensor | None = None
        self.plain = False
        self.inside_grad = False
        self.targets = ""
        self.passes = 0
        self.closed = ""
        self.probability = False
        self.guessed_rows: Tensor | None = None
        self.clean: bool | None = None
        self.kind = Kind.UNKNOWN
        self.phase = Phase.NONE
        self.age = 0

    @property
    def reached(self) -> bool:
        """Whether any backward pass came through this call."""
        return self.plain or self.inside_grad

    @property
    def main_input(self) -> Tensor | None:
        """The samples: the first floating input with a batch axis, shape (n, ...)."""
        return next((x for x in self.inputs if x.ndim >= 2), None)

    @property
    def fake_rows(self) -> Tensor | None:
        """Which rows came from G, bool (n,) on the CPU, where real and fake rows came together; else None."""
        for trace in self.sources:
            if trace is not None and trace.rows is not None:
                return trace.rows
        return self.guessed_rows

    def follow(self, earlier: Call) -> None:
        """Continue a call of another part of the same net: the two are one call, from its inputs to this output."""
        self.inputs, self.sources, self.versions = earlier.inputs, earlier.sources, earlier.versions
        self.seen, self.attached, self.clean = earlier.seen, earlier.attached, earlier.clean
        self.joined = True

    def intact(self) -> bool:
        """Whether no input was overwritten in place since the call (static input buffers are)."""
        return all(x._version == version for x, version in zip(self.inputs, self.versions, strict=True))


@dataclass(slots=True)
class Trace:
    """Where a tensor came from: a unit's output, in whole or in some rows."""

    call: Call
    rows: Tensor | None = None  # bool (n,), on the CPU: which rows; None means all of them
    by_rows: bool = False  # found by comparing values
    by_taint: bool = False  # found by following every operation


@dataclass(slots=True)
class Step:
    """One optimizer step, with the calls and the losses that fed it."""

    role: str  # "d", "g" or "both"
    optimizer: torch.optim.Optimizer
    index: int  # steps of this role before this one
    iteration: int  # the iteration that this step belongs to, from 1
    calls: list[Call]
    losses: list[Tensor]  # the scalars whose backward() fed the step, detached
    skipped: bool = False  # a GradScaler found an infinite gradient and left the weights as they were

    def of(self, *kinds: Kind) -> Iterator[Call]:
        """The calls of D of these kinds that fed this step."""
        return (call for call in self.calls if call.kind in kinds)


class Tally:
    """Counts D's calls by kind and phase: the field `d_calls` of run.json."""

    def __init__(self) -> None:
        self.counts: dict[Kind, dict[Phase, int]] = {}

    def add(self, kind: Kind, phase: Phase, count: int = 1) -> None:
        """Count settled calls."""
        phases = self.counts.get(kind)
        if phases is None:
            phases = self.counts[kind] = {}
        phases[phase] = phases.get(phase, 0) + count

    def move(self, count: int, phase: Phase, *, before: Kind, after: Kind) -> None:
        """Count `count` calls that were taken for `before` as `after`: it has turned out since what they were."""
        self.add(before, phase, -count)
        self.add(after, phase, count)

    def to_json(self) -> dict[str, dict[str, int]]:
        """A copy, `{kind: {phase: count}}`, without zeros."""
        found = {str(k): {str(p): n for p, n in phases.items() if n} for k, phases in self.counts.items()}
        return {kind: phases for kind, phases in found.items() if phases}


def leaves(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """All floating-point tensors inside nested lists, tuples, dicts and dataclass-like outputs."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif depth < 4:
        if isinstance(value, dict):
            value = value.values()
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = vars(value).values() if hasattr(value, "__dict__") else ()
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


#: Whether a tensor is a wrapper inside torch.func, which must not be kept or hooked.
is_functorch: Callable[[Tensor], bool] = torch._C._functorch.is_functorch_wrapped_tensor


def is_opaque(x: Tensor) -> bool:
    """Whether nothing can be told of where a tensor comes from.

    Inside torch.func it has no storage; a sparse one has none either; one of inference mode has no version.
    """
    return is_functorch(x) or x.layout is not torch.strided or x.is_inference()
