"""Turns what torch does into calls and steps with roles.

The order of things in one iteration of a plain loop, with what the observer makes of it:

    D(real)                 a Call, pending
    G(z)                    a Call; its output is remembered
    D(G(z).detach())        a Call; its input is traced to the output: data flows G -> D, roles are known
    loss.backward()         the loss is pending; gradients arrive at D's outputs: the calls are reached
    D's optimizer steps     pending, reached calls get phase "d" and their kinds; listeners get a Step
    D(G(z)); backward       as above
    G's optimizer steps     phase "g"; the iteration ends

This runs some forty times in each iteration of a loop whose iteration may take a millisecond or two. So the
common case comes first and everything else behind a test; `docs/benchmarks.md` says what it costs.
"""

from __future__ import annotations

import os
import traceback
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gandiag.errors import GandiagError, RolesUnclear, TechniqueRefused
from gandiag.loop.calls import Step
from gandiag.loop.captures import tap_captures
from gandiag.loop.cast import Cast
from gandiag.loop.kinds import traced
from gandiag.loop.pattern import is_plain
from gandiag.loop.precision import tap_precision
from gandiag.loop.rounds import Rounds
from gandiag.loop.taint import Taint
from gandiag.loop.taps import Taps

#: Steps of which nobody knows whose they are, after which the taint pass has gone on for long enough.
BLIND = 64


_HERE = Path(__file__).parents[1]

_OPEN: weakref.WeakSet[Observer] = weakref.WeakSet()


def _in_forked_child() -> None:
    """A DataLoader's worker has a copy of all observers, and must do nothing with them."""
    for observer in _OPEN:
        observer._forget()


os.register_at_fork(after_in_child=_in_forked_child)


class Observer(Rounds):
    """Watches one training loop. See the module's docstring.

    `nets(role)` and `optimizers(role)` answer for "g" and "d"; see `Cast`.

    Args:
        generator, discriminator: the nets, where the user gives them; else they are inferred.
        generator_name, discriminator_name: hints, see `roles.by_hint`.
        taint: follow every operation of the first rounds, see `taint`.
        strict: raise gandiag's own errors into the user's loop instead of switching off.
        failed: called with a text when gandiag switches itself off.
        refused: what to raise where a technique was asked for and cannot be applied. This one error does
            reach the user's loop: to train on without the technique would be to answer another question.

    Attributes:
        listeners: told of roles, steps and iterations, in this order.
        iteration: how many have ended.
        steps: how many optimizer steps each role has done.
        captured: whether a CUDA graph was captured, whose replays nobody sees.
    """

    def __init__(
        self,
        *,
        generator: nn.Module | Iterable[nn.Module] | None = None,
        discriminator: nn.Module | Iterable[nn.Module] | None = None,
        generator_name: str | None = None,
        discriminator_name: str | None = None,
        taint: bool = False,
        strict: bool = False,
        failed: Callable[[str], None] = lambda text: None,
        refused: Callable[[GandiagError], BaseException] = lambda error: error,
    ) -> None:
        super().__init__(
            Cast(
                generator=generator,
                discriminator=discriminator,
                generator_name=generator_name,
                discriminator_name=discriminator_name,
            )
        )
        self._taps = Taps(self)
        self._strict = strict
        self._failed = failed
        self._refused = refused
        self._blind_steps = 0
        self.captured = False
        self._capture = self.quiet()
        if taint:
            self.taint = Taint(self._taint_state, self._failed)

    # -- life -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start to watch."""
        self._taps.open()
        tap_precision(self._taps, self)
        tap_captures(self._taps, self)
        _OPEN.add(self)
        if self.taint is not None:
            self.taint.start()
        if self._cast.use_given():
            self._roles_changed()
        self._watch_units()

    def close(self) -> None:
        """Stop to watch; torch is left as it was."""
        if not self._off and self.roles.known:
            self.ledger.settle_in(self._cast.role)
        self._forget()
        self._taps.close()

    def quiet(self) -> _Quiet:
        """A context in which the observer sees nothing: for gandiag's own forwards and gradients."""
        return _Quiet(self)

    @property
    def active(self) -> bool:
        """Whether events are taken: not closed, not gandiag's own work, and not in a forked child."""
        return not self._idle

    @property
    def in_grad(self) -> bool:
        """Whether torch.autograd.grad is running now."""
        return self.passes.inside_grad

    @property
    def scale(self) -> Tensor | None:
        """What a GradScaler has multiplied the last loss by, 0-dim, or None."""
        return self.passes.scale

    def _forget(self) -> None:
        self._off = self._idle = True
        self.pattern.end()
        self._provenance.forget()
        self.ledger.forget()
        self._end_taint()

    def _taint_state(self) -> int:
        """What the taint pass is to do with an operation, see `Taint`."""
        return 2 if self._idle else int(bool(self._depth or self._trying or self.passes.depth))

    def _end_taint(self) -> None:
        if self.taint is not None and self.taint.stop():
            self.taint = None

    # -- backward passes ----------------------------------------------------------------------------------

    def backward_begins(self, roots: Any, weights: Any, inputs: Any, accumulate: bool, create_graph: bool) -> None:
        """Remember the scalar whose backward pass starts: it is, or is part of, a loss."""
        if not self._idle:
            try:
                pattern = self.pattern
                if pattern.following:
                    if pattern.expects_backward(roots, weights, inputs, accumulate, create_graph):
                        self.passes.number += 1
                        return
                    self.look_again()
                plain = is_plain(roots, weights, inputs, accumulate, create_graph) and not self.passes.scaling
                pattern.saw("backward" if plain else None)
                self.passes.begin(roots, weights, inputs, accumulate, create_graph)
                if accumulate and self.director is not None:
                    self.director.backward_begins(roots)
            except Exception as error:
                self._stumbled(error)

    def backward_ended(self, accumulate: bool) -> None:
        """Back in the pass around this one, if there is any."""
        if not self._busy and self.passes.depth:
            self.passes.end()

    def cleared(self, what: Optimizer | nn.Module) -> None:
        """Gradients are cleared: the calls that they came from can no longer be used."""
        if self._idle:
            return
        if self.pattern.following:
            if self.pattern.expects_clear():
                return
            self.guard(self.look_again)
        self.pattern.saw("clear")
        if self.ledger.pending:
            self.guard(self._clear, what)

    def _clear(self, what: Optimizer | nn.Module) -> None:
        role = self.roles.of(self.units.owner(what)) if isinstance(what, nn.Module) else self._cast.role(what)
        if role is not None:
            self.ledger.clear(role, self.passes.number)

    def scaled(self) -> None:
        """A GradScaler is in use."""
        if not self.passes.scaling and not self._idle:
            self.guard(self._forget_pattern)
        self.passes.scaling = True

    def clipped(self, parameters: list[nn.Parameter], norm: Tensor) -> None:
        """Gradients have been clipped: tell whose."""
        if self._idle or self.pattern.following:
            return
        role = next((found for p in parameters if (found := self._cast.role_of_parameter(p)) is not None), None)
        if role is not None:
            for listener in self.listeners:
                self.guard(listener.clipped, role, norm.detach())

    def capture_began(self) -> None:
        """A CUDA graph is being captured: see nothing, and put nothing into it."""
        self.captured = True
        self._capture.__enter__()

    def capture_ended(self) -> None:
        """See again."""
        self._capture.__exit__()

    # -- steps ------------------------------------------------------------------------------------------

    def optimizer_made(self, optimizer: Optimizer) -> None:
        """Learn the owners anew: this happens a few times, before the loop."""
        if not self._idle:
            self.guard(self._learn, optimizer)

    def compiled(self) -> None:
        """A net may have been wrapped, or compiled in place: look again."""
        if self.taint is not None and self.taint.on:
            self._end_taint()
            self._failed("the taint pass ended early: torch.compile and a dispatch mode do not go together")
        if not self._idle and self.units.optimizers():
            self.guard(self._rescan)

    def step_lost(self, optimizer: Optimizer) -> None:
        """The last step of this optimizer has raised: what it would have used is the next one's."""
        if self._step is not None and self._step.optimizer is optimizer:
            self._step = None

    def step_skipped(self, optimizer: Optimizer) -> None:
        """A GradScaler left this step out: it counts as one that moved nothing."""
        self.before_step(optimizer, skipped=True)
        self.after_step(optimizer)

    def before_step(self, optimizer: Optimizer, *, skipped: bool = False) -> None:
        """Settle what the pending calls were for, then tell the listeners."""
        if self._idle:
            return
        try:
            if self.pattern.following:
                expected = None if skipped else self.pattern.expects_step(optimizer)
                if expected is not None:
                    self.steps[expected.role] += 1
                    self._steps_followed.append(expected)
                    return
                self.look_again()
            step = self._settle(optimizer, skipped)
            self.pattern.saw(step)
        except Exception as error:
            self._stumbled(error)
            return
        if step is not None:
            for listener in self.listeners:
                try:
                    listener.before_step(step)
                except Exception as error:
                    self._stumbled(error)

    def _settle(self, optimizer: Optimizer, skipped: bool) -> Step | None:
        if not self.units.knows(optimizer):
            self._learn(optimizer)
        if self._step is not None and self._step.optimizer is optimizer:  # a closure that runs several times
            self.ledger.settle(self._step.role, optimizer)
            return None
        if self.units.stale:
            self._rescan()
        role = self._cast.role(optimizer)
        if role is None:
            self._blind_steps += 1
            if self._blind_steps in (2, 8):
                self._rescan()
            if self._blind_steps > BLIND:
                self._end_taint()
            self.ledger.settle_later(optimizer)
            return None
        role, used, losses = self.ledger.settle(role, optimizer)
        if role == "d" and used and not any(traced(call, self.roles) for call in used):
            self._blind_steps += 1
        self._step = Step(role, optimizer, self.steps[role], self.iteration + 1, used, losses, skipped)
        return self._step

    # -- roles ------------------------------------------------------------------------------------------

    def _forget_pattern(self) -> None:
        if self.pattern.following:
            self.look_again()
        self.pattern.break_off()

    def _learn(self, optimizer: Optimizer) -> None:
        self._forget_pattern()
        if self.taint is not None:
            self.taint.weights(optimizer)
        if self._cast.learn(optimizer):
            self._roles_changed()
        self._watch_units()

    def _rescan(self) -> None:
        self._forget_pattern()
        self._cast.rescan()
        self._watch_units()

    def _watch_units(self) -> None:
        self._taps.watch_classes(self.units.classes())
        for module in self.units.compiled():
            self._taps.watch_compiled(module)

    def _roles_changed(self) -> None:
        self._forget_pattern()
        self._cast.changed()
        for listener in self.listeners:
            self.guard(listener.roles_known, self)

    # -- safety -----------------------------------------------------------------------------------------

    def guard(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run gandiag's own code: an error in it switches gandiag off and does not reach the user's loop.

        But with techniques on it does: see `_stumbled`. `SystemExit` passes: it is how a refused technique and an
        exhausted budget end a run on purpose.
        """
        try:
            return function(*args)
        except Exception as error:
            self._stumbled(error)
            return None

    def _stumbled(self, error: Exception) -> None:
        """Switch gandiag off, or raise what must be raised."""
        if isinstance(error, RolesUnclear | TechniqueRefused):
            self.close()
            refused = self._refused(error)
            if refused is error:  # with the error that it came from
                raise error
            raise refused from None
        if self._strict:
            raise error
        self.close()
        where = _own_frame(error)
        text = f"{type(error).__name__}: {error} ({Path(where.filename).name}, {where.name}, line {where.lineno})"
        self._failed(text)
        names = self.director.names() if self.director is not None else ""
        if names:  # to train on without them would be to answer another question than was asked
            why = "something has failed there, in gandiag or in a net that it has called"
            what = "run it without that technique, and if the nets are not to blame please report this line"
            if isinstance(error, torch.cuda.OutOfMemoryError):
                why, what = "the memory of the device is full", "take smaller batches or a technique that costs less"
            raise self._refused(
                TechniqueRefused(
                    f"{names} cannot be kept on in this script: {why}: {text}. The training is stopped, since it would "
                    f"go on without; {what}"
                )
            ) from error


def _own_frame(error: Exception) -> traceback.FrameSummary:
    """Where in gandiag it happened, rather than where in torch below it."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame for frame in reversed(frames) if _HERE in Path(frame.filename).parents), frames[-1])


class _Quiet:
    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def __enter__(self) -> None:
        self._before = self._observer._busy
        self._observer._busy = self._observer._idle = True

    def __exit__(self, *exc: object) -> None:
        self._observer._busy = self._before
        self._observer._idle = self._before or self._observer._off
