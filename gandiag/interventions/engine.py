"""Puts techniques to work on an observed loop."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gandiag.errors import TechniqueRefused
from gandiag.interventions import ranks, refusals
from gandiag.interventions.added import Added
from gandiag.interventions.arguments import replace_samples, samples
from gandiag.interventions.batches import SEED, Batches
from gandiag.interventions.cotangents import Cotangents
from gandiag.interventions.gradients import Gradients, gated
from gandiag.interventions.network import Changes, unsaved
from gandiag.interventions.preparing import prepare, prepare_g
from gandiag.interventions.stepping import Stepping
from gandiag.loop import Call, Observer, Step
from gandiag.loop.listener import Director, Listener
from gandiag.techniques import Technique, parse

__all__ = ["SEED", "Interventions"]

_SEAMS = ("d_input", "g_input", "clip", "after_d_step", "after_g_step", "after_iteration")


class Interventions(Director, Listener):
    """All techniques of one run, at their seams.

    Args:
        techniques: objects or texts such as `"r1:gamma=0.1"`.
        observer: the loop.

    Attributes:
        techniques: as objects.
        counts: how often each has acted, by name.
        last: a listener that must come after the recorder.

    Raises:
        UnknownName, UsageError: a technique or a parameter that does not exist.
        TechniqueRefused: two of them must not be on together.
    """

    def __init__(self, techniques: Sequence[str | Technique], observer: Observer) -> None:
        self.techniques = [parse(t) for t in techniques]
        self.counts: dict[str, int] = {t.card.name: 0 for t in self.techniques}
        refusals.conflicts(self.techniques)
        self._observer = observer
        self._added = Added(self.techniques)
        self._batches = Batches(self.techniques, observer)
        self._cotangents = Cotangents(self.techniques, observer, self._batches)
        self._gradients = Gradients(
            self.techniques, self._added, observer, self._batches, self._cotangents, self.counts
        )
        self._g_moved = False  # in this iteration
        self.last = self._stepping = Stepping(self.techniques, self._added, observer, self.counts)
        self._g_matters = any(t.has("inside", "g_input", "d_term", "g_term") for t in self.techniques)
        # Asked once: what follows runs at each call and each step.
        self._at = {seam: [t for t in self.techniques if t.has(seam)] for seam in _SEAMS}
        self._started = False

    def needs_roles(self) -> bool:
        """D must be known before its first forward as soon as any technique is on."""
        return bool(self.techniques)

    def names(self) -> str:
        """The techniques."""
        return " and ".join(t.card.name for t in self.techniques)

    # -- before training ----------------------------------------------------------------------------------

    def roles_known(self, observer: Observer) -> None:
        """Refuse what cannot work on these nets, before the first step."""
        for changes in self._batches.changes.values():
            if changes.of_d and observer.roles.of(observer.units.owner(changes.net)) == "g":
                raise TechniqueRefused(
                    "the data flows the other way than names and shapes suggested: the generator was taken for the "
                    "discriminator; say which is which with --generator NAME --discriminator NAME"
                )
        refusals.layers(self.techniques, observer.nets("d"))

    def _start(self) -> None:
        self._started = True
        for technique in self.techniques:
            technique.start(self._nets("g"))
        if any(technique.has("learning_rate") for technique in self.techniques):
            # D may step before G's optimizer has ever been seen, if it was made before the watching began.
            for optimizer in _optimizers_of(self._nets("g")):
                self._observer.optimizer_made(optimizer)

    def _prepare(self, net: nn.Module, args: Any, kwargs: Any, role: str) -> Changes:
        device = next(net.parameters()).device
        if role == "d":
            refusals.parts(self.techniques, net, self._observer)
        own = self._batches.generator(device)
        with self._observer.quiet(), unsaved():
            if role == "d":
                # What is drawn once must be alike on all ranks; what is drawn for samples must not.
                alike = torch.Generator(device).manual_seed(SEED + len(self._batches.changes))
                shared = alike if ranks.count() > 1 else own
                changes = prepare(net, args, kwargs, self.techniques, generator=own, shared=shared)
            else:
                changes = prepare_g(net, args, kwargs, self.techniques, generator=own)
        self._batches.changes[id(net)] = changes
        return changes

    # -- inside a forward ---------------------------------------------------------------------------------

    def forward(self, call: Call, role: str, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A net's forward with everything that acts inside it."""
        guard = self._observer.guard  # what follows is gandiag's own work, but for `run`
        if not self._started:
            guard(self._start)
        if role not in ("d", "g") or (role == "g" and not self._g_matters):
            return run(call.unit, *args, **kwargs)
        if call.joined:
            guard(refusals.chained, self.techniques, call.unit)
        changes = self._batches.changes.get(id(call.unit)) or guard(self._prepare, call.unit, args, kwargs, role)
        if changes is None:  # gandiag has switched itself off
            return run(call.unit, *args, **kwargs)
        for name in changes.acting:
            self.counts[name] += 1
        if call.grad_enabled and call.unit.training:
            change = self._change_d_input if role == "d" else self._change_g_input
            args, kwargs = guard(change, call, args, kwargs) or (args, kwargs)
        elif role == "g" and call.unit.training and (z := samples(args, kwargs)) is not None:
            self._gradients.drawn[id(call.unit)] = (call, z.detach())
        if role == "g":
            return changes.run(args, kwargs, forward=run, update=call.unit.training)
        output = self._cotangents.run(call, lambda: changes.run(args, kwargs, forward=run, update=call.unit.training))
        if self._batches.looks_at_graphs:
            guard(self._batches.margins.output_made, output)
        return output

    def output_noted(self, call: Call, output: Tensor) -> None:
        """See `Cotangents`."""
        self._cotangents.output_noted(call, output)

    def backward_begins(self, roots: tuple[Tensor, ...]) -> None:
        """Look at the script's losses, as long as they are not known."""
        if self._batches.looks_at_graphs:
            self._batches.margins.backward_begins(roots)

    def _change_d_input(self, call: Call, args: Any, kwargs: Any) -> tuple[Any, Any]:
        changing = self._at["d_input"]
        x = samples(args, kwargs) if changing or self._gradients.gates else None
        if x is None:
            return args, kwargs
        new = x
        for technique in changing:
            new = technique.d_input(new, generator=self._batches.generator(x.device))
            self.counts[technique.card.name] += 1
        if new is not x:
            first = next(i for i, seen in enumerate(call.seen) if seen.ndim >= 2)
            call.seen = [new.detach() if i == first else seen for i, seen in enumerate(call.seen)]
            call.args, call.kwargs = replace_samples(call.args, call.kwargs, new.detach())
        # A leaf is a point of the script's own gradient penalty: nothing flows on from it.
        if x.grad_fn is not None and self._gradients.gates:
            new = gated(new, self._observer, self._gradients, call)
            call.gated = True
        return (args, kwargs) if new is x else replace_samples(args, kwargs, new)

    def _change_g_input(self, call: Call, args: Any, kwargs: Any) -> tuple[Any, Any]:
        z = samples(args, kwargs)
        if z is None:
            return args, kwargs
        new = z
        for technique in self._at["g_input"]:
            with unsaved():
                new = technique.g_input(self._batches.latent(technique, call, new.detach()))
            self.counts[technique.card.name] += 1
        self._gradients.made[id(call.unit)] = self._gradients.drawn[id(call.unit)] = (call, new.detach())
        return (args, kwargs) if new is z else replace_samples(args, kwargs, new)

    # -- around a step ------------------------------------------------------------------------------------

    def before_step(self, step: Step) -> None:
        """Add to, replace, clip the gradients, and set the optimizer, in this order."""
        if step.role == "both":
            refusals.one_optimizer(self.techniques)
        self._stepping.unscale(step)
        if step.role in ("d", "both"):
            if step.index == 0:
                refusals.own_penalty(self.techniques, step)
            self._gradients.at_d(step, self._nets)
        if step.role in ("g", "both"):
            self._gradients.at_g(step, self._nets)
        if self._at["clip"]:
            held = [p for group in step.optimizer.param_groups for p in group["params"]]
            held += self._added.of(step.optimizer)
            for technique in self._at["clip"]:
                technique.clip([p for p in held if p.grad is not None])
                self.counts[technique.card.name] += 1
        self._stepping.prepare(step)

    def after_step(self, step: Step) -> None:
        """Finish the step, then what comes after each step of D; one that was left out is none."""
        moved = not self._stepping.left_out
        self._stepping.finish(step)
        self._batches.margins.step_done()
        if step.role != "d":
            self._g_moved = moved  # of several optimizers of G all step or all wait
        if step.role != "g" and moved:
            for technique in self._at["after_d_step"]:
                technique.after_d_step(self._nets("d"))
                self.counts[technique.card.name] += 1

    def iteration_ended(self, iteration: int) -> None:
        """What comes once for each round, however many optimizers G has."""
        moved, self._g_moved = self._g_moved, False
        for technique in self._at["after_g_step"] if moved else ():
            technique.after_g_step(self._nets("g"))
            self.counts[technique.card.name] += 1
        for technique in self._at["after_iteration"]:
            technique.after_iteration(g_nets=self._nets("g"), d_nets=self._nets("d"))
            self.counts[technique.card.name] += 1

    def _nets(self, role: str) -> list[nn.Module]:
        """The nets of a role, each once: a gradient must not be added twice."""
        return list(dict.fromkeys(self._observer.nets(role)))


def _optimizers_of(nets: list[nn.Module]) -> list[Optimizer]:
    """All live optimizers that train any of these nets, found without waking lazy proxies (see `live_modules`)."""
    mine = {id(p) for net in nets for p in net.parameters()}
    live = [thing for thing in gc.get_objects() if Optimizer in type(thing).__mro__ and "param_groups" in vars(thing)]
    return [o for o in live if any(id(p) in mine for group in o.param_groups for p in group["params"])]
