"""Puts techniques to work on an observed loop."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gandiag.errors import TechniqueRefused
from gandiag.interventions import refusals
from gandiag.interventions.added import Added
from gandiag.interventions.arguments import replace_samples, samples
from gandiag.interventions.critic import DCritic
from gandiag.interventions.network import Changes
from gandiag.interventions.pairs import Pair, loss_weight, pairs
from gandiag.interventions.preparing import prepare
from gandiag.loop import Call, Observer, Step
from gandiag.loop.listener import Director, Listener
from gandiag.techniques import Batch, Technique, parse

#: Where gandiag's own random stream starts: a fixed number, so that a run with a technique can be repeated.
SEED = 20_718
#: D's steps in which the script's loss is looked at: on a batch of equal logits all losses look alike.
FIRST_STEPS = 3


class Interventions(Director, Listener):
    """All techniques of one run, at their seams.

    Args:
        techniques: objects or texts such as `"r1:gamma=0.1"`.
        observer: the loop.

    Raises:
        UnknownName, UsageError: a technique or a parameter that does not exist.
        TechniqueRefused: two of them must not be on together.
    """

    def __init__(self, techniques: Sequence[str | Technique], observer: Observer) -> None:
        self.techniques = [parse(t) for t in techniques]
        self.counts: dict[str, int] = {t.card.name: 0 for t in self.techniques}
        self._observer = observer
        self._added = Added(self.techniques)
        self._generators: dict[torch.device, torch.Generator] = {}
        self._changes: dict[int, Changes] = {}
        self._rates: list[tuple[dict[str, Any], Any]] = []
        self._last: dict[int, Pair] = {}  # of each D, by id
        self._weight: Tensor | None = None
        self._started = False
        refusals.conflicts(self.techniques)
        # Takeovers first: what is added to the gradients must not be thrown away with the script's.
        self._losses = sorted((t for t in self.techniques if t.has("d_loss", "g_loss")), key=lambda t: not t.takes_over)

    def needs_roles(self) -> bool:
        """D must be known before its first forward as soon as any technique is on."""
        return bool(self.techniques)

    # -- before training ----------------------------------------------------------------------------------

    def roles_known(self, observer: Observer) -> None:
        """Refuse what cannot work on these nets, before the first step."""
        for changes in self._changes.values():
            if observer.roles.of(observer.units.owner(changes.net)) == "g":
                raise TechniqueRefused(
                    "the data flows the other way than names and shapes suggested: the generator was taken for the "
                    "discriminator; say which is which with --generator NAME --discriminator NAME"
                )
        refusals.layers(self.techniques, observer.nets("d"))
        refusals.ranks(self.techniques)

    def _start(self) -> None:
        self._started = True
        for technique in self.techniques:
            technique.start(self._nets("g"))
        if any(technique.has("learning_rate") for technique in self.techniques):
            # D may step before G's optimizer has ever been seen, if it was made before the watching began.
            for optimizer in _optimizers_of(self._nets("g")):
                self._observer.optimizer_made(optimizer)

    def _prepare(self, net: nn.Module, args: Any, kwargs: Any) -> Changes:
        device = next(net.parameters()).device
        refusals.parts(self.techniques, net, self._observer)
        refusals.precision(self.techniques, device)
        with self._observer.quiet():
            changes = prepare(net, args, kwargs, self.techniques, generator=self._generator(device))
        self._changes[id(net)] = changes
        return changes

    # -- inside a forward ---------------------------------------------------------------------------------

    def forward(self, call: Call, role: str, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """D's forward with everything that acts inside it; G's as it is."""
        guard = self._observer.guard  # what follows is gandiag's own work, but for `run`
        if not self._started:
            guard(self._start)
        if role != "d":
            return run(call.unit, *args, **kwargs)
        changes = self._changes.get(id(call.unit)) or guard(self._prepare, call.unit, args, kwargs)
        if changes is None:  # gandiag has switched itself off
            return run(call.unit, *args, **kwargs)
        for technique in self.techniques:
            if technique.has("weights", "stem", "head"):
                self.counts[technique.card.name] += 1
        if call.grad_enabled and call.unit.training:
            args, kwargs = guard(self._change_input, call, changes, args, kwargs) or (args, kwargs)
        return changes.run(args, kwargs, forward=run, update=call.unit.training)

    def _change_input(self, call: Call, changes: Changes, args: Any, kwargs: Any) -> tuple[Any, Any]:
        x = samples(args, kwargs)
        if x is None:
            return args, kwargs
        new = x
        for technique in self.techniques:
            if technique.has("d_input"):
                new = technique.d_input(new, generator=self._generator(x.device))
                self.counts[technique.card.name] += 1
        if new is not x:
            first = next(i for i, seen in enumerate(call.seen) if seen.ndim >= 2)
            call.seen = [new.detach() if i == first else seen for i, seen in enumerate(call.seen)]
            call.args, call.kwargs = replace_samples(call.args, call.kwargs, new.detach())
        # A leaf is a point of the script's own gradient penalty: nothing flows on from it.
        if x.grad_fn is not None and any(t.has("g_loss") for t in self.techniques):
            new = _Gate.apply(new, self, call, changes)  # type: ignore[no-untyped-call]
        return (args, kwargs) if new is x else replace_samples(args, kwargs, new)

    def gradient_for_g(self, call: Call, changes: Changes, x: Tensor, gradient: Tensor) -> Tensor:
        """What shall flow into G at D's input, in place of what the script's loss sends there."""
        pair = self._last.get(id(call.unit))
        # Inside torch.autograd.grad it is the script's own penalty, which must get what it asked for. Before any
        # real batch has been seen (the first round of a loop that steps G first) there is nothing to compare with.
        if self._observer.in_grad or pair is None:
            return gradient
        critic = DCritic(self._observer, changes, real=pair.real_call, fake=call)
        total: Tensor | None = None
        with torch.enable_grad():
            for technique in self._losses:
                if not technique.has("g_loss"):
                    continue
                fake = x.detach().requires_grad_()
                loss = technique.g_loss(self._batch(pair.real, fake, critic))
                if loss is None:
                    continue
                (own,) = torch.autograd.grad(loss, fake)
                self.counts[technique.card.name] += 1
                base = torch.zeros_like(gradient) if technique.takes_over else gradient
                total = own + (base if total is None else total)
        return gradient if total is None else total

    # -- around a step ------------------------------------------------------------------------------------

    def before_step(self, step: Step) -> None:
        """Add to, replace, clip the gradients, and set the rates, in this order."""
        if step.role in ("d", "both"):
            if step.index == 0:
                refusals.own_penalty(self.techniques, step)
            if self._losses:
                self._d_gradients(step)
        held = [p for group in step.optimizer.param_groups for p in group["params"]] + self._added.of(step.optimizer)
        for technique in self.techniques:
            if technique.has("clip"):
                technique.clip([p for p in held if p.grad is not None])
                self.counts[technique.card.name] += 1
        if step.role in ("d", "g"):
            self._set_rates(step)

    def after_step(self, step: Step) -> None:
        """Step the added parameters, put the rates back."""
        with self._observer.quiet():
            if step.role != "g":
                self._added.step(step.optimizer)
            # As if they were D's: the script clears D's gradients before it fills them for D's step.
            for p in self._added.all() if step.role == "g" else self._added.of(step.optimizer):
                p.grad = None
        for group, rate in self._rates:
            group["lr"] = rate
        self._rates = []

    def iteration_ended(self, iteration: int) -> None:
        """Move the averages: once for each round, however many optimizers G has."""
        for technique in self.techniques:
            if technique.has("after_g_step"):
                technique.after_g_step(self._nets("g"))
                self.counts[technique.card.name] += 1

    def _d_gradients(self, step: Step) -> None:
        found = pairs(step)
        self._last.update({id(pair.real_call.unit): pair for pair in found})
        if not found:
            if step.index == 0:
                raise refusals.unlabelled(self._losses[0], step)
            return
        losing = [t for t in self._losses if t.has("d_loss")]
        if not losing:
            return
        parameters = [p for net in self._nets("d") for p in net.parameters() if p.requires_grad]
        parameters += self._added.all()
        batches = [self._d_batch(pair, check=step.index < FIRST_STEPS) for pair in found]
        for technique in losing:
            losses = [
                loss * pair.share
                for pair, batch in zip(found, batches, strict=True)
                if (loss := technique.d_loss(batch)) is not None
            ]
            if not losses:
                continue
            with self._observer.quiet():
                gradients = torch.autograd.grad(sum(losses[1:], losses[0]), parameters, allow_unused=True)
            _put(parameters, gradients, replace=technique.takes_over)
            self.counts[technique.card.name] += 1

    def _d_batch(self, pair: Pair, *, check: bool) -> Batch:
        if any("bce" in t.card.suits for t in self.techniques):
            self._weight = loss_weight(pair, self._weight, check=check)
        changes = self._changes[id(pair.real_call.unit)]
        critic = DCritic(self._observer, changes, real=pair.real_call, fake=pair.fake_call)
        batch = self._batch(pair.real, pair.fake, critic)
        # Losses are averaged over pairs, and the script's weight already is what one pair has in its sum.
        batch.weight = batch.weight / pair.share
        return batch

    def _batch(self, real: Tensor, fake: Tensor, critic: DCritic) -> Batch:
        weight = self._weight if self._weight is not None else torch.ones((), device=real.device, dtype=real.dtype)
        pack = max(t.pack for t in self.techniques)
        generator = self._generator(real.device)
        return Batch(real=real, fake=fake, critic=critic, generator=generator, weight=weight, pack=pack)

    def _set_rates(self, step: Step) -> None:
        other = next(iter(self._observer.optimizers("g" if step.role == "d" else "d")), None)
        for technique in self.techniques:
            if not technique.has("learning_rate") or other is None:
                continue
            for group in step.optimizer.param_groups:
                rate = technique.learning_rate(role=step.role, own=group["lr"], other=other.param_groups[0]["lr"])
                if rate is not group["lr"]:
                    self._rates.append((group, group["lr"]))
                    group["lr"] = rate
                    self.counts[technique.card.name] += 1

    def _nets(self, role: str) -> list[nn.Module]:
        """The nets of a role, each once: a gradient must not be added twice."""
        return list(dict.fromkeys(self._observer.nets(role)))

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(SEED)
        return self._generators[device]


class _Gate(torch.autograd.Function):
    """The identity on D's input; in the backward pass it decides what flows on into G."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, engine: Interventions, call: Call, changes: Changes) -> Tensor:
        ctx.engine, ctx.call, ctx.changes, ctx.x = engine, call, changes, x.detach()
        # A copy and not a view: torch forbids in-place operations, which D may begin with, on a view made here.
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        engine: Interventions = ctx.engine
        own = engine._observer.guard(engine.gradient_for_g, ctx.call, ctx.changes, ctx.x, gradient)
        return gradient if own is None else own, None, None, None


def _put(parameters: list[nn.Parameter], gradients: Sequence[Tensor | None], *, replace: bool) -> None:
    for p, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            if replace and p.grad is not None:
                p.grad.zero_()
        elif p.grad is None:
            p.grad = gradient.detach().clone()  # autograd may hand out one tensor, or an expanded one, twice
        elif replace:
            p.grad.copy_(gradient)
        else:
            p.grad.add_(gradient)


def _optimizers_of(nets: list[nn.Module]) -> list[Optimizer]:
    """All live optimizers that train any of these nets, found without waking lazy proxies (see `live_modules`)."""
    mine = {id(p) for net in nets for p in net.parameters()}
    live = [thing for thing in gc.get_objects() if Optimizer in type(thing).__mro__ and "param_groups" in vars(thing)]
    return [o for o in live if any(id(p) in mine for group in o.param_groups for p in group["params"])]
