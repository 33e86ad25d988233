"""Turns what torch does into calls and steps with roles.

The order of things in one iteration of a plain loop, with what the observer makes of it:

    D(real)                 a Call, pending
    G(z)                    a Call; its output is remembered
    D(G(z).detach())        a Call; its input is traced to the output: data flows G -> D, roles are known
    loss.backward()         the loss is pending; gradients arrive at D's outputs: the calls are reached
    D's optimizer steps     pending, reached calls get phase "d" and their kinds; listeners get a Step
    D(G(z)); backward       as above
    G's optimizer steps     phase "g"; the iteration ends
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gandiag.errors import GandiagError, RolesUnclear, TechniqueRefused
from gandiag.loop import roles as roles_
from gandiag.loop.calls import Call, Kind, Phase, Step, Tally, Trace, ends_in_sigmoid, leaves
from gandiag.loop.provenance import Provenance
from gandiag.loop.roles import Roles
from gandiag.loop.taps import Taps
from gandiag.loop.units import Owner, Units

#: Optimizer steps after which a call that no gradient reached is settled as evaluation.
DEAD_AFTER = 3
#: Rows of inputs are compared with G's outputs by value in the first iterations and then in each 50th, as long
#: as no comparison has ever found anything: in most loops storage and ancestry tell all there is.
LOOK_AT_ROWS, LOOK_AGAIN = 10, 50


class Listener:
    """What wants to know of a loop; every method is optional."""

    def roles_known(self, observer: Observer) -> None:
        """Generator and discriminator have been told apart (again, if they changed)."""

    def call_begins(self, call: Call, role: str) -> Callable[[], None] | None:
        """A unit of known role is about to be called; what is returned runs right after it."""

    def call_ended(self, call: Call, role: str) -> None:
        """A unit of known role has been called."""

    def before_step(self, step: Step) -> None:
        """An optimizer of known role is about to step."""

    def after_step(self, step: Step) -> None:
        """It has stepped."""

    def iteration_ended(self, iteration: int) -> None:
        """G's optimizer has stepped and `after_step` is done."""


class Director:
    """Runs the forward of a unit whose role is known; interventions replace it to change what happens."""

    def forward(self, call: Call, role: str, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run the call and return what the script shall get."""
        return run(call.unit, *args, **kwargs)

    def needs_roles(self) -> bool:
        """Whether roles must be known before the first forward."""
        return False


class Observer:
    """Watches one training loop. See the module's docstring.

    Args:
        generator, discriminator: the nets, where the user gives them; else they are inferred.
        generator_name, discriminator_name: hints, see `roles.by_hint`.
        strict: raise gandiag's own errors into the user's loop instead of switching off.
        failed: called with a text when gandiag switches itself off.
        refused: what to raise where a technique was asked for and cannot be applied. This one error does
            reach the user's loop: to train on without the technique would be to answer another question.
    """

    def __init__(
        self,
        *,
        generator: nn.Module | Iterable[nn.Module] | None = None,
        discriminator: nn.Module | Iterable[nn.Module] | None = None,
        generator_name: str | None = None,
        discriminator_name: str | None = None,
        strict: bool = False,
        failed: Callable[[str], None] = lambda text: None,
        refused: Callable[[GandiagError], BaseException] = lambda error: error,
    ) -> None:
        self.units = Units()
        self.roles = Roles()
        self.tally = Tally()
        self.iteration = 0  # finished iterations
        self.steps = {"d": 0, "g": 0, "both": 0}
        self.listeners: list[Listener] = []
        self.director = Director()
        self.blind_spots: list[str] = []
        self._hints = (generator_name, discriminator_name)
        self._given = (_modules(generator), _modules(discriminator))
        self._provenance = Provenance()
        self._taps = Taps(self)
        self._pending: list[Call] = []
        self._losses: list[Tensor] = []
        self._loss_used = False
        self._step: Step | None = None
        self._depth = 0
        self._in_grad = 0
        self._busy = False
        self._strict = strict
        self._failed = failed
        self._refused = refused
        self._pace: Optimizer | None = None
        self._rows_help = False
        self._blind_steps = 0
        self._off = False
        self._pid = os.getpid()
        self._thread: int | None = None
        self._role_cache: dict[int, tuple[int, str | None]] = {}

    # -- life -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start to watch."""
        self._taps.open()
        if self._given[0] and self._given[1]:
            self._use_given()

    def close(self) -> None:
        """Stop to watch; torch is left as it was."""
        self._off = True
        self._taps.close()

    def quiet(self) -> _Quiet:
        """A context in which the observer sees nothing: for gandiag's own forwards and gradients."""
        return _Quiet(self)

    @property
    def active(self) -> bool:
        """Whether events are taken: not closed, not gandiag's own work, and not in a forked child."""
        return not (self._off or self._busy or os.getpid() != self._pid)

    def nets(self, role: str) -> list[nn.Module]:
        """The outermost units of a role."""
        owners = self.roles.g if role == "g" else self.roles.d
        return [unit for owner in owners for unit in self.units.maximal(owner)]

    def optimizers(self, role: str) -> list[Optimizer]:
        """The optimizers of a role, in the order in which they were made."""
        return [o for o in self.units.optimizers() if self._role(o) == role]

    # -- taps -------------------------------------------------------------------------------------------

    def optimizer_made(self, optimizer: Optimizer) -> None:
        """Learn the owners anew: this happens a few times, before the loop."""
        if self.active:
            self._guard(self._learn, optimizer)

    def forward_called(self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A watched class's forward; only the outermost call of a unit becomes an event."""
        owner = None if self._depth or not self.active else self.units.owner(module)
        if owner is None:
            return forward(module, *args, **kwargs)
        thread = threading.get_ident()
        if self._thread is None:
            self._thread = thread
        if thread != self._thread:  # DataParallel's replicas
            return forward(module, *args, **kwargs)
        call = self._guard(self._enter, module, owner, args, kwargs)
        if call is None:
            return forward(module, *args, **kwargs)
        role = self.roles.of(owner)
        ends = [self._guard(listener.call_begins, call, role) for listener in self.listeners] if role else []
        self._depth += 1
        try:
            # The director runs the user's own code: its errors are the user's and pass through.
            output = self.director.forward(call, role or "", forward, args, kwargs)
        finally:
            self._depth -= 1
            for end in ends:
                if end is not None:
                    self._guard(end)
        self._guard(self._leave, call, role, output)
        return output

    def backward_called(self, tensors: Any, grad_tensors: Any) -> None:
        """Remember the scalar whose backward pass starts: it is, or is part of, a loss."""
        if self.active:
            self._guard(self._note_loss, tensors, grad_tensors)

    def grad_called(self, entering: bool) -> None:
        """Count how deep inside torch.autograd.grad we are."""
        self._in_grad += 1 if entering else -1

    def before_step(self, optimizer: Optimizer) -> None:
        """Settle what the pending calls were for, then tell the listeners."""
        if self.active:
            self._step = None
            if not self.units.knows(optimizer):
                self._guard(self._learn, optimizer)
            self._step = self._guard(self._settle, optimizer)
            if self._step is not None:
                for listener in self.listeners:
                    self._guard(listener.before_step, self._step)

    def after_step(self, optimizer: Optimizer) -> None:
        """Tell the listeners, and end the iteration if the step was G's."""
        step, self._step = self._step, None
        if not self.active or step is None or step.optimizer is not optimizer:
            return
        for listener in self.listeners:
            self._guard(listener.after_step, step)
        self.steps[step.role] += 1
        if step.role != "d" and self._sets_pace(step.role, optimizer):
            self._pace = optimizer
        # Of several generators' optimizers the first one sets the pace: an iteration is one round of it.
        if optimizer is self._pace:
            self.iteration += 1
            for listener in self.listeners:
                self._guard(listener.iteration_ended, self.iteration)

    # -- calls ------------------------------------------------------------------------------------------

    def _enter(self, module: nn.Module, owner: Owner, args: Any, kwargs: Any) -> Call:
        if not self.roles.known and self.director.needs_roles():
            self._decide_now()
        call = Call(module, owner, args, kwargs, torch.is_grad_enabled())
        for x in leaves((args, kwargs)):
            if _is_functorch(x):
                continue
            trace = self._provenance.trace(x, rows=self._look_at_rows(x, owner))
            self._rows_help = self._rows_help or (trace is not None and trace.by_rows)
            call.inputs.append(x.detach())
            call.versions.append(x._version)
            call.sources.append(trace)
            if trace is not None and trace.call.owner != owner and self.roles.saw_flow(trace.call.owner, owner):
                self._roles_changed()
        # Arguments with a graph would keep it alive; what a listener needs of them is detached.
        call.args, call.kwargs = _detached(args), _detached(kwargs)
        call.seen = call.inputs
        return call

    def _look_at_rows(self, x: Tensor, owner: Owner) -> bool:
        if x.ndim < 2 or self.roles.of(owner) == "g":
            return False
        if x.device.type != "cpu":  # reading values would synchronise: only while nothing else has answered
            return 2 <= self._blind_steps < 2 + LOOK_AT_ROWS or self._rows_help
        return self._rows_help or self.iteration < LOOK_AT_ROWS or self.iteration % LOOK_AGAIN == 0

    def _leave(self, call: Call, role: str | None, output: Any) -> None:
        if role != "d":  # D's outputs never become inputs of another unit in a loop that we know
            self._provenance.remember(output, call)
        for leaf in leaves(output):
            if _is_functorch(leaf):
                return
            if call.output is None:
                call.output = leaf.detach()
                call.probability = ends_in_sigmoid(leaf)
            if leaf.requires_grad and call.grad_enabled and role != "g":
                leaf.register_hook(_Reached(self, call, leaf))  # type: ignore[no-untyped-call]
        if role == "d" or role is None:
            self._pending.append(call)
        if role is not None:
            for listener in self.listeners:
                self._guard(listener.call_ended, call, role)

    def _reached(self, call: Call, output: Tensor, gradient: Tensor) -> None:
        if self._busy:
            return
        if self._in_grad:
            call.inside_grad = True
        elif not call.plain:
            call.plain = True
            call.output = output
            call.cotangent = gradient.detach()

    def _note_loss(self, tensors: Any, grad_tensors: Any) -> None:
        if self._loss_used:
            self._losses, self._loss_used = [], False
        roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
        weights = [grad_tensors] if isinstance(grad_tensors, Tensor) or grad_tensors is None else list(grad_tensors)
        for i, root in enumerate(roots):
            value = root.detach()
            weight = weights[i] if i < len(weights) else None
            if weight is not None:
                value = (value * weight.detach()).sum()
            elif value.numel() != 1:
                continue
            self._losses.append(value.reshape(()))

    # -- steps ------------------------------------------------------------------------------------------

    def _settle(self, optimizer: Optimizer) -> Step | None:
        role = self._role(optimizer)
        if role is None:
            self._blind_steps += 1
            return None
        phase = Phase.G if role == "g" else Phase.D
        used = [call for call in self._pending if call.reached and self.roles.of(call.owner) == "d"]
        waiting = []
        for call in self._pending:
            if call.reached:
                continue
            call.age += 1
            if call.age < DEAD_AFTER and call.grad_enabled:
                waiting.append(call)
            elif self.roles.of(call.owner) == "d":
                call.kind = Kind.EVAL
                self.tally.add(call)
        self._pending = waiting
        for call in used:
            call.phase = phase
            call.kind = _kind(call, self.roles)
            if call.kind is Kind.UNKNOWN and any(_traced(c, self.roles) for c in used):
                call.kind = _by_elimination(call, used, self.roles)
            self.tally.add(call)
        if role == "d" and used and not any(_traced(c, self.roles) for c in used):
            self._blind_steps += 1
        losses, self._loss_used = list(self._losses), True
        return Step(role, optimizer, self.steps[role], self.iteration + 1, used, losses)

    def _role(self, optimizer: Optimizer) -> str | None:
        key = id(optimizer)
        count = sum(len(group["params"]) for group in optimizer.param_groups)
        known = self._role_cache.get(key)
        if known is not None and known[0] == count:
            return known[1]
        found: set[str] = set()
        mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for role in ("g", "d"):
            for net in self.nets(role):
                if any(id(p) in mine for p in net.parameters()):
                    found.add(role)
        answer = "both" if len(found) == 2 else (found.pop() if found else None)
        if self.roles.known:
            self._role_cache[key] = (count, answer)
        return answer

    def _sets_pace(self, role: str, optimizer: Optimizer) -> bool:
        """The first G optimizer does, then whatever is made anew for its parameters; one over both nets only alone."""
        if self._pace is None:
            return True
        if role == "g" and self._role(self._pace) == "both":
            return True
        held = {id(p) for group in self._pace.param_groups for p in group["params"]}
        return role == "g" and any(id(p) in held for group in optimizer.param_groups for p in group["params"])

    # -- roles ------------------------------------------------------------------------------------------

    def _learn(self, optimizer: Optimizer) -> None:
        g_before, d_before = self._parameters("g"), self._parameters("d")
        self.units.add_optimizer(optimizer)
        self._role_cache.clear()
        if self._given[0] and self._given[1]:
            self._use_given()
            return
        self.units.scan()
        if g_before or d_before:  # optimizers made anew hold the same parameters under a new owner
            self.roles.g = self._owners_of(g_before)
            self.roles.d = self._owners_of(d_before)
        self._taps.watch_classes(self.units.classes())
        if any(self._hints) and not self.roles.known:
            found = roles_.by_hint(self.units, generator=self._hints[0], discriminator=self._hints[1])
            if found is not None:
                self.roles.g, self.roles.d, self.roles.sure = found[0], found[1], True
                self._roles_changed()

    def _use_given(self) -> None:
        first = not self.roles.known
        for modules, owner in zip(self._given, (frozenset({-1}), frozenset({-2})), strict=True):
            for module in modules:
                self.units.force(module, owner)
        self.roles.g, self.roles.d, self.roles.sure = {frozenset({-1})}, {frozenset({-2})}, True
        self._taps.watch_classes(self.units.classes())
        if first:
            self._roles_changed()

    def _decide_now(self) -> None:
        found = roles_.guess(self.units)
        if found is None:
            raise roles_.question(self.units)
        self.roles.g, self.roles.d, self.roles.guessed = found[0], found[1], True
        self._roles_changed()

    def _roles_changed(self) -> None:
        self._role_cache.clear()
        for listener in self.listeners:
            self._guard(listener.roles_known, self)

    def _parameters(self, role: str) -> set[int]:
        return {id(p) for net in self.nets(role) for p in net.parameters()}

    def _owners_of(self, parameters: set[int]) -> set[Owner]:
        return {
            owner
            for owner in self.units.owners()
            for unit in self.units.maximal(owner)
            if any(id(p) in parameters for p in unit.parameters())
        }

    # -- safety -----------------------------------------------------------------------------------------

    def _guard(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run gandiag's own code: an error in it switches gandiag off and never reaches the user's loop.

        `SystemExit` passes: it is how a refused technique and an exhausted budget end a run on purpose.
        """
        try:
            return function(*args)
        except (RolesUnclear, TechniqueRefused) as error:
            self.close()
            raise self._refused(error) from None
        except Exception as error:
            if self._strict:
                raise
            self.close()
            where = traceback.extract_tb(error.__traceback__)[-1]
            self._failed(f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})")
            return None


class _Quiet:
    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def __enter__(self) -> None:
        self._before = self._observer._busy
        self._observer._busy = True

    def __exit__(self, *exc: object) -> None:
        self._observer._busy = self._before


class _Reached:
    """The hook on D's output: notes that a gradient came, and changes nothing."""

    __slots__ = ("_call", "_observer", "_output")

    def __init__(self, observer: Observer, call: Call, output: Tensor) -> None:
        self._observer, self._call, self._output = observer, call, output.detach()

    def __call__(self, gradient: Tensor) -> None:
        self._observer._reached(self._call, self._output, gradient)


def _kind(call: Call, roles: Roles) -> Kind:
    if call.inside_grad and (not call.plain or _is_zero(call.cotangent)):
        return Kind.PENALTY  # `logits * 0 + r1`: the plain gradient exists and is zero
    traces = [t for x, t in zip(call.inputs, call.sources, strict=True) if x.ndim >= 2]
    fakes = [t for t in traces if t is not None and roles.of(t.call.owner) == "g"]
    if not fakes:
        return Kind.UNKNOWN
    if fakes[0].rows is not None:
        return Kind.CAT
    shapes = {tuple(x.shape[1:]) for x, t in zip(call.inputs, call.sources, strict=True) if t in fakes}
    others = [x for x, t in zip(call.inputs, call.sources, strict=True) if t is None and tuple(x.shape[1:]) in shapes]
    return Kind.PAIR if others else Kind.FAKE


def _traced(call: Call, roles: Roles) -> bool:
    return any(t is not None and roles.of(t.call.owner) == "g" for t in call.sources)


def _by_elimination(call: Call, used: list[Call], roles: Roles) -> Kind:
    """Real, if the gradient at its output points the other way than at the sure fakes' outputs.

    "Not traced to G" alone is no proof: an augmentation without autograd leaves no trace. The opposite sign
    is. On a GPU reading a sign would synchronise; there a sure fake in the same step has to do.
    """
    if call.cotangent is None or call.cotangent.device.type != "cpu":
        return Kind.REAL if call.plain else Kind.UNKNOWN
    sign = float(call.cotangent.sum())
    fakes = [c for c in used if _traced(c, roles) and c.cotangent is not None]
    fake_sign = sum(float(c.cotangent.sum()) for c in fakes if c.cotangent is not None)
    if sign == 0.0 or fake_sign == 0.0:  # hinge beyond its margin, saturated losses
        return Kind.REAL
    return Kind.REAL if (sign > 0) != (fake_sign > 0) else Kind.UNKNOWN


def _is_zero(x: Tensor | None) -> bool:
    return x is not None and x.device.type == "cpu" and not bool(x.any())


def _is_functorch(x: Tensor) -> bool:
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(x))


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {key: _detached(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_detached(item) for item in value)
    return value


def _modules(given: nn.Module | Iterable[nn.Module] | None) -> list[nn.Module]:
    if given is None:
        return []
    return [given] if isinstance(given, nn.Module) else list(given)


__all__ = ["Director", "Listener", "Observer", "Trace"]
