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
from gandiag.loop.calls import Call, Kind, Phase, Step, Tally, detached, ends_in_sigmoid, is_functorch, leaves
from gandiag.loop.cast import Cast
from gandiag.loop.kinds import settle_kind, traced
from gandiag.loop.listener import Director, Listener
from gandiag.loop.provenance import Provenance
from gandiag.loop.taps import Taps
from gandiag.loop.units import Owner

#: Optimizer steps after which a call that no gradient reached is settled as evaluation.
DEAD_AFTER = 3
#: Rows of inputs are compared with G's outputs by value in the first iterations and then in each 50th, as long
#: as no comparison has ever found anything: in most loops storage and ancestry tell all there is.
LOOK_AT_ROWS, LOOK_AGAIN = 10, 50


class Observer:
    """Watches one training loop. See the module's docstring.

    `nets(role)` and `optimizers(role)` answer for "g" and "d"; see `Cast`.

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
        self._cast = Cast(
            generator=generator,
            discriminator=discriminator,
            generator_name=generator_name,
            discriminator_name=discriminator_name,
        )
        self.units, self.roles = self._cast.units, self._cast.roles
        self.nets, self.optimizers = self._cast.nets, self._cast.optimizers
        self.tally = Tally()
        self.iteration = 0  # finished iterations
        self.steps = {"d": 0, "g": 0, "both": 0}
        self.listeners: list[Listener] = []
        self.director = Director()
        self.blind_spots: list[str] = []
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

    # -- life -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start to watch."""
        self._taps.open()
        if self._cast.use_given():
            self._roles_changed()
        self._taps.watch_classes(self.units.classes())

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
            self._cast.decide_now()
            self._roles_changed()
        call = Call(module, owner, args, kwargs, torch.is_grad_enabled())
        for x in leaves((args, kwargs)):
            if is_functorch(x):
                continue
            trace = self._provenance.trace(x, rows=self._look_at_rows(x, owner))
            self._rows_help = self._rows_help or (trace is not None and trace.by_rows)
            call.inputs.append(x.detach())
            call.versions.append(x._version)
            call.sources.append(trace)
            if trace is not None and trace.call.owner != owner and self.roles.saw_flow(trace.call.owner, owner):
                self._roles_changed()
        # Arguments with a graph would keep it alive; what a listener needs of them is detached.
        call.args, call.kwargs = detached(args), detached(kwargs)
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
        for i, leaf in enumerate(leaves(output)):
            if is_functorch(leaf):
                return
            if call.output is None:
                call.output = leaf.detach()
                call.probability = ends_in_sigmoid(leaf)
            if leaf.requires_grad and call.grad_enabled and role != "g":
                leaf.register_hook(_Reached(self, call, leaf, i))  # type: ignore[no-untyped-call]
        if role == "d" or role is None:
            self._pending.append(call)
        if role is not None:
            for listener in self.listeners:
                self._guard(listener.call_ended, call, role)

    def _reached(self, call: Call, output: Tensor, leaf: int, gradient: Tensor) -> None:
        if self._busy:
            return
        if self._in_grad:
            call.inside_grad = True
            return
        call.plain = True
        # A D that returns (score, class scores) gets gradients at both, in no order; the score comes first.
        if call.leaf is None or leaf < call.leaf:
            call.leaf, call.output, call.cotangent = leaf, output, gradient.detach()

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
        role = self._cast.role(optimizer)
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
            call.kind = settle_kind(call, used, self.roles)
            self.tally.add(call)
        if role == "d" and used and not any(traced(c, self.roles) for c in used):
            self._blind_steps += 1
        losses, self._loss_used = list(self._losses), True
        return Step(role, optimizer, self.steps[role], self.iteration + 1, used, losses)

    def _sets_pace(self, role: str, optimizer: Optimizer) -> bool:
        """The first G optimizer does, then whatever is made anew for its parameters; one over both nets only alone."""
        if self._pace is None:
            return True
        if role == "g" and self._cast.role(self._pace) == "both":
            return True
        held = {id(p) for group in self._pace.param_groups for p in group["params"]}
        return role == "g" and any(id(p) in held for group in optimizer.param_groups for p in group["params"])

    # -- roles ------------------------------------------------------------------------------------------

    def _learn(self, optimizer: Optimizer) -> None:
        if self._cast.learn(optimizer):
            self._roles_changed()
        self._taps.watch_classes(self.units.classes())

    def _roles_changed(self) -> None:
        self._cast.changed()
        for listener in self.listeners:
            self._guard(listener.roles_known, self)

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

    __slots__ = ("_call", "_leaf", "_observer", "_output")

    def __init__(self, observer: Observer, call: Call, output: Tensor, leaf: int) -> None:
        self._observer, self._call, self._output, self._leaf = observer, call, output.detach(), leaf

    def __call__(self, gradient: Tensor) -> None:
        self._observer._reached(self._call, self._output, self._leaf, gradient)
