"""The gradients seam: what techniques add to gradients, or put in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gandiag.interventions import ranks, refusals
from gandiag.interventions.added import Added
from gandiag.interventions.batches import Batches
from gandiag.interventions.cotangents import Cotangents
from gandiag.interventions.network import thawed
from gandiag.interventions.pairs import Pair, pairs
from gandiag.loop import Call, Observer, Step
from gandiag.techniques import Latent, Technique

#: D's steps in which the script's loss is looked at: on a batch of equal logits all losses look alike.
FIRST_STEPS = 3

Nets = Callable[[str], list[nn.Module]]  # those of a role, "d" or "g"


class Gradients:
    """Right before an optimizer's step, and where gradients flow from D into G.

    Args:
        techniques: all that are on.
        added: their parameters.
        observer: the loop.
        batches: what they get to see.
        cotangents: what was done at D's output before.
        counts: how often each technique has acted, by name.
    """

    def __init__(
        self,
        techniques: Sequence[Technique],
        added: Added,
        observer: Observer,
        batches: Batches,
        cotangents: Cotangents,
        counts: dict[str, int],
    ) -> None:
        self._techniques = techniques
        self._added = added
        self._observer = observer
        self._batches = batches
        self._cotangents = cotangents
        self._counts = counts
        self._reads_pairs = [
            t for t in techniques if t.has("d_loss", "g_loss", "g_gradient", "d_term", "g_term", "g_input")
        ]
        # Takeovers first: what is added to the gradients must not be thrown away with the script's.
        self._losses = sorted((t for t in techniques if t.has("d_loss", "g_loss")), key=lambda t: not t.takes_over)
        self._weighs = any(t.has("weights_loss") for t in techniques)
        #: Whether what flows from D into G is changed or looked at.
        self.gates = batches.read or any(t.has("g_loss", "g_gradient") for t in techniques)
        #: The last call of each G that it may learn from, with the latents that it was given.
        self.made: dict[int, tuple[Call, Tensor]] = {}
        #: Its last call in train mode, also without autograd, as some scripts draw D's fakes.
        self.drawn: dict[int, tuple[Call, Tensor]] = {}

    def at_d(self, step: Step, nets: Nets) -> None:
        """D's step: losses of the batch, then losses of the weights."""
        if self._reads_pairs:
            self._losses_of_d(step, nets)
        for technique in self._techniques:
            if technique.has("d_term"):  # each D has its own, and of several optimizers each its own Ds
                latents = [
                    self._batches.latent(technique, call, z, pair=pair)
                    for pair in self._batches.last_of(step.calls)
                    for call, z in _makers_of(pair, list(self.drawn.values()))
                ]
                self._add_terms(technique, technique.d_term, latents, nets("d"))
        self._losses_of_weights("d", nets, step)

    def at_g(self, step: Step, nets: Nets) -> None:
        """G's step: losses through another forward of G, then losses of the weights."""
        if self._batches.wants_trained:
            for call, _ in self.made.values():
                self._batches.changes_of(call.unit).note_trained()
        for technique in self._techniques:
            if technique.has("g_term"):
                latents = [self._batches.latent(technique, *made) for made in self.made.values()]
                self._add_terms(technique, technique.g_term, latents, nets("g"))
        self._losses_of_weights("g", nets, step)

    def into_g(self, call: Call, x: Tensor, gradient: Tensor) -> Tensor:
        """What shall flow into G at D's input, in place of what the script's loss sends there."""
        pair = self._batches.last.get(id(call.unit))
        # Inside torch.autograd.grad it is the script's own penalty, which must get what it asked for. Before any
        # real batch has been seen (the first round of a loop that steps G first) there is nothing to compare with.
        if self._observer.in_grad or pair is None:
            return gradient
        self._batches.look_at_g(call)
        batch = self._batches.for_g(pair, call, x)
        total: Tensor | None = None
        with torch.enable_grad():
            for technique in self._losses:
                if not technique.has("g_loss"):
                    continue
                if self._cotangents.into_g(technique, call):
                    self._counts[technique.card.name] += 1
                    total = gradient
                    continue
                loss = technique.g_loss(batch)
                if loss is None:
                    continue
                (own,) = torch.autograd.grad(loss, batch.fake)
                scale = self._observer.scale
                own = (own if scale is None else own * scale.to(own.device)).to(gradient.dtype)
                self._counts[technique.card.name] += 1
                base = torch.zeros_like(gradient) if technique.takes_over else gradient
                total = own + (base if total is None else total)
        total = gradient if total is None else total
        for technique in self._techniques:
            if technique.has("g_gradient"):
                before, total = total, technique.g_gradient(batch, total)
                self._counts[technique.card.name] += total is not before
        return total

    def _losses_of_d(self, step: Step, nets: Nets) -> None:
        found = pairs(step)
        self._batches.d_steps(found, [call for call, _ in self.drawn.values()])
        if not found:
            if step.index == 0:
                raise refusals.unlabelled(self._reads_pairs[0], step)
            return
        losing = [t for t in self._losses if t.has("d_loss")]
        if not losing and not self._batches.read:
            return
        check = step.index < FIRST_STEPS
        # What was done at D's output in the script's own backward pass need not be done again.
        left = [(technique, self._cotangents.left(technique, step, found)) for technique in losing]
        wanted = {id(pair) for _, pairs_ in left for pair in pairs_}
        asked = [pair for pair in found if check or self._batches.read or id(pair) in wanted]
        batches = {id(pair): self._batches.for_d(pair, check=check) for pair in asked}
        parameters: list[nn.Parameter] = []  # to be looked for only if anything is to be added to their gradients
        for technique, pairs_ in left:
            wrong = self._cotangents.wrong(technique, step)
            if not pairs_:
                self._counts[technique.card.name] += 1
            if pairs_ or wrong:
                parameters = parameters or [*_trained(nets("d")), *self._added.all()]
            losses = [loss * pair.share for pair in pairs_ if (loss := technique.d_loss(batches[id(pair)])) is not None]
            self._add(technique, losses, parameters, replace=technique.takes_over)
            for call, added in wrong:
                logits = self._batches.again(call)
                self._add(technique, [-(logits * added).sum()], parameters, replace=False)

    def _add_terms(
        self,
        technique: Technique,
        term: Callable[[Latent], Tensor | None],
        latents: list[Latent],
        nets: list[nn.Module],
    ) -> None:
        parameters = _trained(nets)
        with thawed(self._batches.changes.values()):
            losses = [loss for latent in latents if (loss := term(latent)) is not None]
            self._add(technique, losses, parameters, replace=False)

    def _losses_of_weights(self, role: str, nets: Nets, step: Step) -> None:
        if not self._weighs:
            return
        # Only what this optimizer steps: of several, each comes here, and none may pay for the others' weights again.
        held = {id(p) for group in step.optimizer.param_groups for p in group["params"]}
        mine = [net for net in nets(role) if any(id(p) in held for p in net.parameters())]
        added = self._added.of(step.optimizer) if role == "d" else []
        if added:
            mine.append(nn.ParameterList(added))
            held.update(map(id, added))
        for technique in self._techniques:
            if technique.has("weights_loss"):
                loss = technique.weights_loss(role=role, nets=mine)
                # Weights are alike on all ranks, and so is this: there is nothing to average.
                parameters = [p for p in _trained(mine) if id(p) in held]
                self._add(technique, [] if loss is None else [loss], parameters, replace=False, alike=True)

    def _add(
        self,
        technique: Technique,
        losses: list[Tensor],
        parameters: list[nn.Parameter],
        *,
        replace: bool,
        alike: bool = False,
    ) -> None:
        if not losses:
            return
        with self._observer.quiet():
            gradients = torch.autograd.grad(sum(losses[1:], losses[0]), parameters, allow_unused=True)
        _put(parameters, gradients if alike else ranks.averaged(parameters, gradients), replace=replace)
        self._counts[technique.card.name] += 1


def _makers_of(pair: Pair, drawn: list[tuple[Call, Tensor]]) -> list[tuple[Call, Tensor]]:
    """Of several generators, or parts of one, the calls of those whose samples this D judges."""
    traced = [trace.call for trace in pair.fake_call.sources if trace is not None]
    if not traced:
        return drawn
    units = {id(call.unit) for call in traced if call.args or call.kwargs}  # else only its owner is known
    owners = {call.owner for call in traced}
    return [(call, z) for call, z in drawn if (id(call.unit) in units if units else call.owner in owners)]


def gated(x: Tensor, observer: Observer, gradients: Gradients, call: Call) -> Tensor:
    """D's input, with a gate behind which `gradients.into_g` decides what flows on into G."""
    out: Tensor = _Gate.apply(x, observer, gradients, call)  # type: ignore[no-untyped-call]
    return out


class _Gate(torch.autograd.Function):
    """The identity on D's input; in the backward pass it decides what flows on into G."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, observer: Observer, gradients: Gradients, call: Call) -> Tensor:
        ctx.observer, ctx.gradients, ctx.call, ctx.x = observer, gradients, call, x.detach()
        # A copy and not a view: torch forbids in-place operations, which D may begin with, on a view made here.
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        own = ctx.observer.guard(ctx.gradients.into_g, ctx.call, ctx.x, gradient)
        return gradient if own is None else own, None, None, None


def _trained(nets: list[nn.Module]) -> list[nn.Parameter]:
    return [p for net in nets for p in net.parameters() if p.requires_grad]


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
