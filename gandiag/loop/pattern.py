"""A round that goes as the rounds before it went, followed without looking closely.

Watching all of a round costs a third of a millisecond, which is nothing beside a convolution and too much beside a
small perceptron. Most loops do the same in each round: the same calls, backward passes and steps, in the same
order. After `AGREE` rounds that were alike in everything (which net, which shape, which of its own outputs, what
the call turned out to be), a round that nobody wants to measure is only checked event by event against what comes
next. The first thing that differs ends that: what the round has done so far is gone through once more, in full,
from what was kept of it, so that its calls are labelled as if it had been looked at from the start.

Real and fake are not taken from memory: whether an input is what G made in this very round is looked up at each
call. What is trusted is which gradients reach a call, and which step uses it.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gandiag.loop.calls import Call, Kind, Phase, Step, is_functorch

#: Rounds that must be like the one before them until the next is followed.
AGREE = 20
#: Events of one round, and calls of G among them, that are remembered at most: an evaluation between two rounds may
#: make thousands of samples, and each event keeps its tensors alive.
MOST, MOST_SAMPLED = 128, 16


#: A call of the round being followed, enough to go through it once more: what was expected, the module, its input and
#: its output; of G's, a reference to the output and a tensor without a graph that shares its storage. Of D's, the
#: version of the input at the time.
Followed = tuple["ExpectedCall", nn.Module, Tensor, Any, int]
#: A batch that D saw in its step: "real" or "fake", the samples and their version then, and D's output; all detached.
Seen = tuple[str, Tensor, int, Tensor]


@dataclass(slots=True, frozen=True)
class ExpectedCall:
    """A call as it is expected. By identities, as nothing of the user's may be kept alive."""

    module: int
    shape: torch.Size
    attached: bool
    grad: bool
    role: str
    source: int  # which of the round's calls made its input; -1 for none
    passes: int


@dataclass(slots=True, frozen=True)
class ExpectedStep:
    """A step as it is expected, with the number of D's calls that it uses, by what they are."""

    optimizer: int
    role: str
    counts: tuple[tuple[Kind, Phase, int], ...]


class Pattern:
    """Learns what a round is like from those that are watched, and follows those that are not.

    Attributes:
        following: whether a round is being followed.
        losses: of the last step of each role in the round that is followed: one of each backward pass; 0-dim, or a
            number where reading one waits for nothing.
        seen: the batches of D's steps in it.
        done: how many steps each role has done in it so far.
        steps: how many steps each role does in a round.
    """

    def __init__(self) -> None:
        self.following = False
        self.losses: dict[str, list[Tensor | float]] = {}
        self.seen: list[Seen] = []
        self.done = {"d": 0, "g": 0}
        self.steps = {"d": 0, "g": 0}
        self._events: list[Any] = []
        self._whole = False  # the events are those of a round from its start
        self._expected: list[Any] = []
        self._sampled = 0  # calls of G among them
        self._agreed = 0
        self._next: Any = None
        self._at = 0
        self._made: dict[int, int] = {}  # storage -> which of the round's calls put it out
        self._of_g: list[Followed] = []
        self._of_d: list[Followed] = []  # since the last step
        self._passes = 0
        self._roots: list[Tensor | float] = []

    # -- learning -----------------------------------------------------------------------------------------

    def saw(self, event: Any) -> None:
        """Note an event of a watched round: a Call of G or D, a Step, "clear", "backward"; None for all else."""
        if self._whole:
            self._events.append(event)
            if type(event) is Call and event.of_g:
                self._sampled += 1
            if event is None or len(self._events) > MOST or self._sampled > MOST_SAMPLED:
                self.break_off()

    def break_off(self) -> None:
        """This round is not like others, or what is known of the nets has changed."""
        self._whole, self._agreed = False, 0
        self._sampled = 0
        self._events.clear()

    def round_ended(self, first: int) -> bool:
        """A watched round is over; True if the next one may be followed.

        Args:
            first: number of the last backward pass before it.
        """
        events, self._events = self._events, []
        self._sampled = 0
        whole, self._whole = self._whole, True
        if not whole:
            return False
        expected = [*_expected(events, first), None]
        if len(expected) <= len(events) or len(events) == 0:
            self._agreed = 0
        elif expected == self._expected:
            self._agreed += 1
        else:
            self._expected, self._agreed = expected, 0
            done = [e.role for e in expected if isinstance(e, ExpectedStep)]
            self.steps = {"d": done.count("d"), "g": done.count("g")}
        return self._agreed >= AGREE

    # -- following ----------------------------------------------------------------------------------------

    def follow(self) -> None:
        """The next round is followed."""
        self.following = True
        self._at = self._passes = 0
        self._next = self._expected[0]
        self.losses, self.seen = {}, []
        self.done = {"d": 0, "g": 0}

    def expects_call(self, module: nn.Module, args: Any, kwargs: Any) -> bool:
        """Whether this is the call that comes next."""
        e = self._next
        if type(e) is not ExpectedCall or e.module != id(module) or len(args) != 1 or kwargs:
            return False
        x = args[0]
        return (
            type(x) is Tensor
            and x.shape == e.shape
            and x.requires_grad is e.attached
            and torch.is_grad_enabled() is e.grad
            and not is_functorch(x)
            and self._made.get(x.untyped_storage()._cdata, -1) == e.source
        )

    def called(self, module: nn.Module, x: Tensor, output: Any) -> bool:
        """It has returned; False if its output is not of the sort that was expected."""
        e = self._next
        if e.role == "d":
            self._of_d.append((e, module, x, output, x._version))
        else:
            if type(output) is not Tensor:
                self._of_g.append((e, module, x, output, 0))
                return False
            # Not the output itself: its graph may be large, and the script may be done with it.
            self._of_g.append((e, module, x, (weakref.ref(output), output.detach()), 0))
            if not is_functorch(output):
                self._made[output.untyped_storage()._cdata] = self._at
        self._at = at = self._at + 1
        self._next = self._expected[at]
        return type(output) is Tensor

    def expects_clear(self) -> bool:
        """Whether gradients are cleared next."""
        if self._next != "clear":
            return False
        self._at = at = self._at + 1
        self._next = self._expected[at]
        return True

    def expects_backward(self, roots: Any, weights: Any, inputs: Any, accumulate: bool, create_graph: bool) -> bool:
        """Whether a backward pass comes next."""
        if self._next != "backward" or not is_plain(roots, weights, inputs, accumulate, create_graph):
            return False
        root, weight = roots[0], weights[0]
        self._roots.append(root.item() * weight.item() if root.is_cpu else root.detach() * weight)
        self._passes += 1
        self._at = at = self._at + 1
        self._next = self._expected[at]
        return True

    def expects_step(self, optimizer: Optimizer) -> ExpectedStep | None:
        """The step that comes next, if it is of this optimizer."""
        e = self._next
        if type(e) is not ExpectedStep or e.optimizer != id(optimizer):
            return None
        self.done[e.role] += 1
        if e.role == "d":
            for expected, _, x, output, version in self._of_d:
                if x.ndim > 1:
                    side = "fake" if expected.source >= 0 else "real"
                    self.seen.append((side, x.detach() if expected.attached else x, version, output.detach()))
        self._of_d.clear()
        self.losses[e.role], self._roots = self._roots, []
        self._at = at = self._at + 1
        self._next = self._expected[at]
        return e

    def over(self) -> bool:
        """Whether the round that is followed is complete."""
        return self._next is None

    def leave(self) -> tuple[list[tuple[Followed, bool]], list[Tensor | float]]:
        """Stop in the middle of a round.

        Returns:
            The calls that no step has used, and G's, each with whether a backward pass has gone through it; and the
            losses of the passes that no step has used.
        """
        self.following = False
        self.break_off()
        order = {id(e): at for at, e in enumerate(self._expected)}
        calls = sorted(self._of_g + self._of_d, key=lambda call: order[id(call[0])])
        losses, self._roots = self._roots, []
        self.end()
        self._whole = False
        return [(call, call[0].passes <= self._passes) for call in calls], losses

    def end(self) -> None:
        """The round that was followed is over."""
        self.following = False
        self._whole = True
        self._sampled = 0
        self._of_g, self._of_d, self._made = [], [], {}


def is_plain(roots: Any, weights: Any, inputs: Any, accumulate: bool, create_graph: bool) -> bool:
    """Whether a backward pass is a plain `loss.backward()`."""
    return (
        accumulate
        and not inputs
        and not create_graph
        and len(roots) == 1
        and type(roots[0]) is Tensor
        and roots[0].ndim == 0
        and roots[0].is_floating_point()
        and type(weights[0]) is Tensor
        and not weights[0].requires_grad
    )


def _expected(events: list[Any], first: int) -> Iterator[Any]:
    """What the next round will be like, if it is like this one; ends early where that cannot be foreseen."""
    made: dict[int, int] = {}  # G's calls by identity
    passes = used = 0
    for at, event in enumerate(events):
        found: Any = event
        if isinstance(event, Call):
            found = _expected_call(event, made, first)
            if found is not None and found.role == "g":
                made[id(event)] = at
        elif isinstance(event, Step):
            found = _expected_step(event) if len(event.losses) == passes - used else None
            used = passes
        elif event == "backward":
            passes += 1
        if found is None:
            return
        yield found


def _expected_call(call: Call, made: dict[int, int], first: int) -> ExpectedCall | None:
    """One tensor in and one out; of G, or reached by plain gradients alone and used by a step of D's or G's."""
    if len(call.args) != 1 or call.kwargs or len(call.inputs) != 1 or not (call.grad_enabled or call.of_g):
        return None
    trace = call.sources[0]
    source = -1
    if trace is not None:
        output = trace.call.output
        if trace.rows is not None or output is None or id(trace.call) not in made:
            return None
        if call.inputs[0].untyped_storage()._cdata != output.untyped_storage()._cdata:
            return None
        source = made[id(trace.call)]
    if call.of_g:
        role, passes = "g", 0
    elif call.kind in (Kind.REAL, Kind.FAKE) and call.plain and not call.inside_grad and call.leaf == 0:
        role, passes = "d", call.passes - first
    else:
        return None
    return ExpectedCall(id(call.unit), call.inputs[0].shape, call.attached, call.grad_enabled, role, source, passes)


def _expected_step(step: Step) -> ExpectedStep | None:
    """A step in which what is real is so beyond doubt: the only call of its net that no output of G's entered."""
    if step.role == "both" or step.skipped:
        return None
    for unit in {id(call.unit) for call in step.calls}:
        calls = [call for call in step.calls if id(call.unit) == unit]
        reals = sum(call.kind is Kind.REAL for call in calls)
        untraced = sum(not any(call.sources) for call in calls)  # voted to be fake, then
        if reals > 1 or untraced > reals or (step.role == "d" and reals == len(calls)):
            return None
    counts = Counter((call.kind, call.phase) for call in step.calls)
    return ExpectedStep(id(step.optimizer), step.role, tuple((*key, count) for key, count in counts.items()))
