"""The calls of networks, from a class's forward to the pending call of a unit.

The hottest part of the observer: it runs at each call of each watched module. So the common case, one tensor in
and one out, comes first and everything else behind a test.
"""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gandiag.loop.calls import Call, detached, ends_in_sigmoid, is_opaque, leaves
from gandiag.loop.cast import Cast
from gandiag.loop.ledger import Ledger
from gandiag.loop.listener import Director, Listener
from gandiag.loop.passes import Passes
from gandiag.loop.pattern import Pattern
from gandiag.loop.provenance import Provenance
from gandiag.loop.taint import Taint
from gandiag.loop.units import Owner

_NOTHING: list[Callable[[], None] | None] = []


class Forwards(ABC):
    """What the observer does with calls; the rest of it is in `Observer`.

    Args:
        cast: who plays what.

    Attributes:
        callers: told of every call. That costs a microsecond or two each, so it is asked for apart.
        director: runs the forward of units; None runs them as they are.
        ledger: where calls wait for a step.
        passes: the backward passes.
        pattern: what a round is like.
    """

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self.units, self.roles = cast.units, cast.roles
        self.nets, self.optimizers = cast.nets, cast.optimizers
        self.ledger = Ledger(self.roles)
        self.passes = Passes(cast, self.ledger, self._stumbled)
        self.pattern = Pattern()
        self._round_began = 0  # number of the last backward pass before this round
        self.steps = {"d": 0, "g": 0, "both": 0}
        self.callers: list[Listener] = []
        self.director: Director | None = None
        self._provenance = Provenance()
        self._provenance.by_value = True
        self.taint: Taint | None = None
        self._depth = 0
        self._off = False
        self._busy = False
        self._idle = False  # off or busy
        self._rows_help = False
        self._settled_in = False
        self._tried: set[int] = set()
        self._trying = False
        self._chains = False  # outputs of D's nets enter D's nets
        self._sigmoid: dict[tuple[int, type], bool] = {}
        self._thread = threading.get_ident()

    # What the classes on top of this one know how to do.

    @abstractmethod
    def guard(self, function: Callable[..., Any], *args: Any) -> Any:
        """See `Observer.guard`."""

    @abstractmethod
    def _stumbled(self, error: Exception) -> None: ...

    @abstractmethod
    def _roles_changed(self) -> None: ...

    @abstractmethod
    def _watch_units(self) -> None: ...

    @abstractmethod
    def _resumed(self) -> None: ...

    def forward_called(self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A watched class's forward; only the outermost call of a unit becomes an event."""
        if self._depth or self._idle:
            return forward(module, *args, **kwargs)
        pattern = self.pattern
        if pattern.following and threading.get_ident() == self._thread:
            try:
                expected = pattern.expects_call(module, args, kwargs)
            except Exception as error:
                self._stumbled(error)
                expected = False
            if expected:
                self._depth = 1
                try:
                    output = forward(module, args[0])
                finally:
                    self._depth = 0
                if pattern.following:
                    try:
                        if not pattern.called(module, args[0], output):
                            self.look_again()
                    except Exception as error:
                        self._stumbled(error)
                return output
        owner = None if self._off else self.units.owner(module)
        # Other threads run DataParallel's replicas.
        if owner is None or (threading.get_ident() != self._thread and not self._other_thread()):
            return forward(module, *args, **kwargs)
        if pattern.following:
            self.guard(self.look_again)
        try:
            role = self.roles.of(owner)
            if role is None:
                owner, role = self._role_wanted(module, owner)
                if owner is None:
                    return forward(module, *args, **kwargs)
            call = self._enter(module, owner, role, args, kwargs)
            role = role or self.roles.of(owner)  # this very call may have shown it
        except Exception as error:
            self._stumbled(error)
            return forward(module, *args, **kwargs)
        if id(module) not in self._tried and self.director is None and not self._trying:
            return self._try(call, role, forward, args, kwargs)
        ends = self._begin(call, role)
        self._depth = 1
        try:
            # What runs here is the user's own code: its errors are the user's and pass through.
            if self.director is None:
                output = forward(module, *args, **kwargs)
            else:
                output = self.director.forward(call, role or "", forward, args, kwargs)
        finally:
            self._depth = 0
            for end in ends:
                if end is not None:
                    self.guard(end)
        if not self._off:
            try:
                self._leave(call, role, output)
            except Exception as error:
                self._stumbled(error)
        return output

    def look_again(self) -> None:
        """A round that was followed goes on in another way: catch up with what is not settled yet, and watch."""
        calls, losses = self.pattern.leave()
        self._resumed()
        for number, loss in enumerate(losses, start=self.passes.number - len(losses) + 1):
            self.ledger.loss(number, torch.as_tensor(loss), by_hand=False)
        with torch.enable_grad():
            for (expected, module, x, output, _), passed in calls:
                owner = self.units.owner(module)
                role = self.roles.of(owner)
                if owner is None or role is None:
                    continue
                call = self._enter(module, owner, role, (x,), {})
                if type(output) is tuple and isinstance(output[0], weakref.ref):
                    alive = output[0]()
                    output = output[1] if alive is None else alive
                self._leave(call, role, output)
                if passed and role == "d":  # its gradients have come before there was a hook
                    call.plain, call.targets = True, "dg"
                    call.passes = self._round_began + expected.passes

    def _begin(self, call: Call, role: str | None) -> list[Callable[[], None] | None]:
        if role is None or self._trying or not self.callers:
            return _NOTHING
        return [self.guard(caller.call_begins, call, role) for caller in self.callers]

    def _try(self, call: Call, role: str | None, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run the first call of a unit, and see whether it is a net at all.

        A loss that holds D has D's parameters and no others, but gives one number for a batch. So the calls inside
        are watched too, and only then it is known which are the ones that count.
        """
        before, chains = len(self.ledger.pending), self._chains
        ends = self._begin(call, role)
        self._trying = True
        try:
            output = forward(call.unit, *args, **kwargs)
        finally:
            self._trying = False
            for end in ends:
                if end is not None:
                    self.guard(end)
        if self._off:
            return output
        try:
            self._tried.add(id(call.unit))
            if isinstance(output, Tensor) and output.ndim == 0 and len(list(call.unit.children())):
                self.units.open_up(call.unit)
                self._watch_units()
            else:
                del self.ledger.pending[before:]
                self._chains = chains  # what has been seen of its own layers says nothing
                self._leave(call, role, output)
        except Exception as error:
            self._stumbled(error)
        return output

    def _enter(self, module: nn.Module, owner: Owner, role: str | None, args: Any, kwargs: Any) -> Call:
        if len(args) == 1 and not kwargs and type(args[0]) is Tensor and args[0].is_floating_point():
            x = args[0]
            plain = x.detach() if x.requires_grad else x
            call = Call(module, owner, (plain,), kwargs, torch.is_grad_enabled())
            if not is_opaque(x):
                if role == "g" and self._settled_in and not x.requires_grad:  # a latent, in most loops
                    call.inputs.append(plain)
                    call.versions.append(x._version)
                    call.sources.append(None)
                else:
                    self._note_input(call, role, x, plain)
            if self._chains:
                self._join(call, role)
            return call
        # Arguments with a graph would keep it alive; what a listener needs of them is detached.
        call = Call(module, owner, detached(args), detached(kwargs), torch.is_grad_enabled())
        for x in leaves((args, kwargs)):
            if not is_opaque(x):
                self._note_input(call, role, x, x.detach() if x.requires_grad else x)
        if self._chains:
            self._join(call, role)
        return call

    def _join(self, call: Call, role: str | None) -> None:
        """D is called in parts, D.head(D.trunk(x)): join the call of one part to that of the part before it."""
        if role == "g":
            return
        before = next(
            (t.call for t in call.sources if t and not (t.by_rows or t.by_taint) and t.call.owner == call.owner), None
        )
        if before is not None:
            call.follow(before)
            self.ledger.pending = [other for other in self.ledger.pending if other is not before]

    def _note_input(self, call: Call, role: str | None, x: Tensor, plain: Tensor) -> None:
        trace = None
        # G's own inputs are latents: looking for their origin matters only until the roles are clear.
        if role != "g" or not self._settled_in:
            trace = self._provenance.trace(x)
            if trace is not None:
                self._rows_help = self._rows_help or trace.by_rows
                source, learns = trace.call.owner, x.requires_grad and call.grad_enabled
                # Without autograd it may be a picture that is looked at by a classifier of the script's own.
                if source != call.owner and call.grad_enabled:
                    if self.roles.saw_flow(source, call.owner, learns=learns):
                        self._roles_changed()
                elif source == call.owner and role != "g":
                    self._chains = True
            elif x.ndim >= 2 and self.roles.saw_input(call.owner):
                self._roles_changed()
            if x.requires_grad and (x.grad_fn is not None or (trace is not None and self.passes.depth > 0)):
                call.attached = True
                if role != "g":
                    call.frozen = self.units.is_frozen(call.unit)
        if self.taint is not None and self.taint.on:
            # Not told to the roles: what G's values went into through any operation is no net's input for that.
            trace = trace or self.taint.trace(x)
            call.clean = call.clean is not False and (x.ndim < 2 or self.taint.clean(x))
        call.inputs.append(plain)
        call.versions.append(x._version)
        call.sources.append(trace)

    def _leave(self, call: Call, role: str | None, output: Any) -> None:
        if type(output) is Tensor and output.is_floating_point():
            if not is_opaque(output):
                self._note_output(call, role, output, 0)
            call.of_g = role == "g"
            self.pattern.saw(call)
        else:
            self.pattern.saw(None)
            for number, leaf in enumerate(leaves(output)):
                if is_opaque(leaf):
                    continue
                # A network that hands on what it was given has not made it.
                if not any(_same(leaf, x, version) for x, version in zip(call.inputs, call.versions, strict=True)):
                    self._note_output(call, role, leaf, number)
        if role != "g":
            self.ledger.wait(call, role)
        if role is not None and not self._trying:
            for caller in self.callers:
                self.guard(caller.call_ended, call, role)

    def _note_output(self, call: Call, role: str | None, leaf: Tensor, number: int) -> None:
        plain = leaf.detach() if leaf.requires_grad else leaf
        if call.output is None:
            call.output = plain
            if role != "g" and leaf.grad_fn is not None:
                key = (id(call.unit), type(leaf.grad_fn))
                known = self._sigmoid.get(key)
                if known is None:
                    known = self._sigmoid[key] = ends_in_sigmoid(leaf)
                call.probability = known
        # D's outputs never become inputs of another unit in a loop that we know, unless D is called in parts.
        if role != "d" or self._chains or not self._settled_in:
            self._provenance.remember(leaf, call)
        if self.taint is not None:
            self.taint.seed(leaf, call, made_by_g=role != "d")
        if role != "g" and call.grad_enabled and leaf.requires_grad:
            leaf.register_hook(self.passes.reached(call, plain, number))  # type: ignore[no-untyped-call]
            if self.director is not None:
                self.director.output_noted(call, leaf)

    def _role_wanted(self, module: nn.Module, owner: Owner) -> tuple[Owner | None, str | None]:
        """What can be done for a unit without a role before it runs; None for the owner if it is none after all."""
        if self.roles.known:
            return owner, None
        if self._cast.split():
            self._watch_units()
            found = self.units.owner(module)
            if found is None:
                return None, None
            owner = found
        if self.director is not None and self.director.needs_roles():
            self._cast.decide_now()
            self._roles_changed()
        return owner, self.roles.of(owner)

    def _other_thread(self) -> bool:
        """Whether to follow the loop into this thread: notebooks and launchers run it beside the main one."""
        # Autograd's own thread for a GPU, where checkpointing calls a network once more; it is none of Python's.
        if self.passes.depth and threading.get_ident() not in {thread.ident for thread in threading.enumerate()}:
            return True
        if self.steps["d"] or self.steps["g"] or self.steps["both"] or self.ledger.pending:
            return False
        self._thread = threading.get_ident()
        return True


def _same(output: Tensor, x: Tensor, version: int) -> bool:
    return output._version == version and output.untyped_storage()._cdata == x.untyped_storage()._cdata
