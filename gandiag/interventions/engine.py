"""Puts techniques to work on an observed loop."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gandiag.errors import TechniqueRefused
from gandiag.interventions.critic import DCritic
from gandiag.interventions.network import Changes, find_ends, preserved, replace_samples
from gandiag.interventions.pairs import Pair, loss_weight, pairs
from gandiag.loop import Call, Observer, Step
from gandiag.loop.observer import Director, Listener
from gandiag.techniques import Technique, parse

#: Where gandiag's own random stream starts: a fixed number, so that a run with a technique can be repeated.
SEED = 20_718


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
        self._generators: dict[torch.device, torch.Generator] = {}
        self._changes: dict[int, Changes] = {}
        self._own: dict[int, Optimizer] = {}
        self._rates: list[tuple[dict[str, Any], Any]] = []
        self._real: Pair | None = None
        self._weight: Tensor | None = None
        self._started = False
        _refuse_conflicts(self.techniques)
        # Takeovers first: what is added to the gradients must not be thrown away with the script's.
        self._losses = sorted((t for t in self.techniques if t.has("d_loss", "g_loss")), key=lambda t: not t.takes_over)

    def needs_roles(self) -> bool:
        """D must be known before its first forward as soon as any technique is on."""
        return bool(self.techniques)

    def extra_parameters(self) -> list[nn.Parameter]:
        """Parameters that techniques added to D."""
        return [p for t in self.techniques for p in t.extra_parameters()]

    # -- before training ----------------------------------------------------------------------------------

    def roles_known(self, observer: Observer) -> None:
        """Refuse what cannot work on these nets, before the first step."""
        if self._started:
            if self._changes and not all(id(net) in self._changes for net in observer.nets("d")):
                raise TechniqueRefused(
                    "the data flows the other way than names and shapes suggested: the generator was taken for the "
                    "discriminator; say which is which with --generator NAME --discriminator NAME"
                )
            return
        for technique in self.techniques:
            for net in observer.nets("d"):
                bad = sorted({type(m).__name__ for m in net.modules()} & set(technique.card.layers))
                if bad:
                    raise TechniqueRefused(
                        f"{technique.card.name} penalises D's slope at each sample, and {type(net).__name__} holds "
                        f"{', '.join(bad)}, which mixes the samples of a batch: replace it by layer normalisation, or "
                        "use spectral_norm, pacgan or instance_noise"
                    )

    def _start(self) -> None:
        if not self._started:
            self._started = True
            for technique in self.techniques:
                technique.start(self._observer.nets("g"))

    def _prepare(self, net: nn.Module, args: Any, kwargs: Any) -> Changes:
        device = next(net.parameters()).device
        with self._observer.quiet(), preserved([net], device), torch.no_grad():
            ends = find_ends(net, lambda: net(*args, **kwargs))
        changes = Changes(self.techniques, ends)
        for technique in self.techniques:
            technique.prepare(net, stem=ends.stem, head=ends.head, generator=self._generator(device))
        self._changes[id(net)] = changes
        return changes

    # -- inside a forward ---------------------------------------------------------------------------------

    def forward(self, call: Call, role: str, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """D's forward with everything that acts inside it; G's as it is."""
        self._start()
        if role != "d":
            return run(call.unit, *args, **kwargs)
        changes = self._changes.get(id(call.unit)) or self._prepare(call.unit, args, kwargs)
        for technique in self.techniques:
            if technique.has("weights", "stem", "head"):
                self.counts[technique.card.name] += 1
        if call.grad_enabled and call.unit.training:
            args, kwargs = self._change_input(call, changes, args, kwargs)
        return changes.run(call.unit, args, kwargs, forward=run, update=call.unit.training)

    def _change_input(self, call: Call, changes: Changes, args: Any, kwargs: Any) -> tuple[Any, Any]:
        x = _samples(args, kwargs)
        if x is None:
            return args, kwargs
        new = x
        for technique in self.techniques:
            if technique.has("d_input"):
                new = technique.d_input(new, generator=self._generator(x.device))
                self.counts[technique.card.name] += 1
        if new is not x:
            call.seen = [new.detach() if seen.ndim >= 2 and i == 0 else seen for i, seen in enumerate(call.seen)]
            call.args, call.kwargs = replace_samples(call.args, call.kwargs, new.detach())
        if new.requires_grad and any(t.has("g_loss") for t in self.techniques):
            new = _Gate.apply(new, self, call, changes)
        return (args, kwargs) if new is x else replace_samples(args, kwargs, new)

    def gradient_for_g(self, call: Call, changes: Changes, x: Tensor, gradient: Tensor) -> Tensor:
        """What shall flow into G at D's input, in place of what the script's loss sends there."""
        # Inside torch.autograd.grad it is the script's own penalty, which must get what it asked for. Before any
        # real batch has been seen (the first round of a loop that steps G first) there is nothing to compare with.
        if self._observer._in_grad or self._real is None:
            return gradient
        total: Tensor | None = None
        with torch.enable_grad():
            for technique in self._losses:
                if not technique.has("g_loss"):
                    continue
                fake = x.detach().requires_grad_()
                sides = {"real": self._real.real_call, "fake": call}
                batch = self._batch(self._real.real, fake, DCritic(self._observer, changes, sides))
                loss = technique.g_loss(batch)
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
        if step.role in ("d", "both") and self._losses:
            self._d_gradients(step)
        parameters = [p for group in step.optimizer.param_groups for p in group["params"] if p.grad is not None]
        for technique in self.techniques:
            if technique.has("clip"):
                technique.clip(parameters)
                self.counts[technique.card.name] += 1
        if step.role in ("d", "g"):
            self._set_rates(step)

    def after_step(self, step: Step) -> None:
        """Put the rates back, step the added parameters, and move the averages."""
        if step.role != "g" and self.extra_parameters():
            self._step_own(step.optimizer)
        for group, rate in self._rates:
            group["lr"] = rate
        self._rates = []
        for p in self.extra_parameters():
            # As if they were D's: the script clears D's gradients before it fills them for D's step.
            p.grad = None
        for technique in self.techniques:
            if technique.has("after_g_step") and step.role != "d":
                technique.after_g_step(self._observer.nets("g"))
                self.counts[technique.card.name] += 1

    def _d_gradients(self, step: Step) -> None:
        found = pairs(step)
        if found:
            self._real = found[-1]
        losing = [t for t in self._losses if t.has("d_loss")]
        if not losing:
            return
        if not found:
            if step.index == 0:
                kinds = ", ".join(f"{call.kind}" for call in step.calls) or "none"
                raise TechniqueRefused(
                    f"{losing[0].card.name} needs to know which of D's calls saw real and which saw fake samples, and "
                    f"D's first step was fed by these calls: {kinds}. Augmentation between G and D without autograd "
                    "hides where a sample came from; apply it inside D, or turn on a technique that needs no labels "
                    "(spectral_norm, instance_noise, pacgan)"
                )
            return
        parameters = [p for net in self._observer.nets("d") for p in net.parameters() if p.requires_grad]
        parameters += self.extra_parameters()
        self._weight = loss_weight(found, self._weight, check=self._needs_bce() and step.index == 0)
        for technique in losing:
            total: Tensor | None = None
            for pair in found:
                changes = self._changes[id(pair.real_call.unit)]
                sides = {"real": pair.real_call, "fake": pair.fake_call}
                loss = technique.d_loss(self._batch(pair.real, pair.fake, DCritic(self._observer, changes, sides)))
                if loss is not None:
                    total = loss / len(found) if total is None else total + loss / len(found)
            if total is None and not technique.takes_over:
                continue
            with self._observer.quiet():
                gradients = torch.autograd.grad(total, parameters, allow_unused=True) if total is not None else ()
            _put(parameters, gradients, replace=technique.takes_over)
            self.counts[technique.card.name] += 1

    def _set_rates(self, step: Step) -> None:
        for technique in self.techniques:
            if not technique.has("learning_rate"):
                continue
            other = next((o for o in self._observer.optimizers("g" if step.role == "d" else "d")), None)
            if other is None:
                continue
            for group in step.optimizer.param_groups:
                rate = technique.learning_rate(role=step.role, own=group["lr"], other=other.param_groups[0]["lr"])
                if rate is not group["lr"]:
                    self._rates.append((group, group["lr"]))
                    group["lr"] = rate
                    self.counts[technique.card.name] += 1

    def _step_own(self, script: Optimizer) -> None:
        """Train the added parameters by an optimizer of the same class and settings as the script's for D."""
        group = script.param_groups[0]
        with self._observer.quiet():
            own = self._own.get(id(script))
            if own is None:
                takes = inspect.signature(type(script)).parameters
                settings = {key: value for key, value in group.items() if key in takes and key != "params"}
                own = self._own[id(script)] = type(script)(self.extra_parameters(), **settings)
            own.param_groups[0]["lr"] = group["lr"]
            own.step()

    def _needs_bce(self) -> bool:
        return any("bce" in t.card.suits for t in self.techniques)

    def _batch(self, real: Tensor, fake: Tensor, critic: DCritic) -> Any:
        from gandiag.techniques import Batch

        weight = self._weight if self._weight is not None else torch.ones((), device=real.device)
        return Batch(real=real, fake=fake, critic=critic, generator=self._generator(real.device), weight=weight)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(SEED)
        return self._generators[device]


class _Gate(torch.autograd.Function):
    """The identity on D's input; in the backward pass it decides what flows on into G."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, engine: Interventions, call: Call, changes: Changes) -> Tensor:
        ctx.engine, ctx.call, ctx.changes, ctx.x = engine, call, changes, x.detach()
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        return ctx.engine.gradient_for_g(ctx.call, ctx.changes, ctx.x, gradient), None, None, None


def _put(parameters: list[nn.Parameter], gradients: Sequence[Tensor | None], *, replace: bool) -> None:
    for p, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            if replace and p.grad is not None:
                p.grad.zero_()
        elif p.grad is None:
            p.grad = gradient.detach()
        elif replace:
            p.grad.copy_(gradient)
        else:
            p.grad.add_(gradient)


def _samples(args: Any, kwargs: Any) -> Tensor | None:
    from gandiag.loop.calls import leaves

    return next((x for x in leaves((args, kwargs)) if x.ndim >= 2), None)


def _refuse_conflicts(techniques: list[Technique]) -> None:
    names = [t.card.name for t in techniques]
    for technique in techniques:
        if names.count(technique.card.name) > 1:
            raise TechniqueRefused(f"{technique.card.name} was asked for twice; give it once, with all its parameters")
        both = sorted(set(technique.card.conflicts) & set(names))
        if both:
            raise TechniqueRefused(
                f"{technique.card.name} and {both[0]} must not be on together; choose one of them "
                f"(`gandiag techniques {technique.card.name}` says why)"
            )
