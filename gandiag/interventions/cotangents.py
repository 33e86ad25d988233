"""Losses of techniques put at D's output, on the way of the script's own backward pass.

A loss that judges each batch by D's logits alone needs no forward of D of its own: the gradient that the script's loss
sends to D's output (the cotangent, in autograd's words) is replaced, or added to, and what the script's backward pass
then carries on is the gradient of the technique's loss. That costs next to nothing, where another forward and backward
of D cost as much as the script's.

While the pass runs nobody knows what step it will feed, so each call is taken for what it looks like: on G's graph it
is G's, traced to G but detached it is fake, else real. At D's step it is known, and what was taken for something else
is put right: a takeover is computed anew, a term is taken out again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gandiag.interventions.batches import Batches
from gandiag.interventions.network import SigmoidInputs
from gandiag.interventions.pairs import Pair
from gandiag.loop import Call, Observer, Step
from gandiag.loop.calls import Kind
from gandiag.loop.units import is_compiled
from gandiag.techniques import Technique

_SIDES = {Kind.REAL: "real", Kind.FAKE: "fake"}
_TWICE = "twice"


class Cotangents:
    """What happens at D's output.

    Args:
        techniques: all that are on.
        observer: the loop.
        batches: who knows the weight of the script's loss.
    """

    def __init__(self, techniques: Sequence[Technique], observer: Observer, batches: Batches) -> None:
        # Where one logit stands for several samples, a mean over D's outputs is none over its logits.
        plain = not any(t.has("d_output") for t in techniques)
        judging = [t for t in techniques if t.has("loss_at")] if plain else []
        self._judging = {side: [t for t in judging if side in t.judges] for side in ("real", "fake", "g", "")}
        self._observer = observer
        self._batches = batches
        self._ends_in_sigmoid: dict[int, bool] = {}
        self._logits: tuple[Call, Tensor | None] | None = None  # of the call that is running

    # -- while D runs ---------------------------------------------------------------------------------------

    def run(self, call: Call, forward: Callable[[], Any]) -> Any:
        """D's forward, noting what goes into a sigmoid at its end."""
        side = self._side(call)
        if not (self._judging[side] and call.grad_enabled):
            return forward()
        if not self._ends_in_sigmoid.get(id(call.unit), True) or is_compiled(call.unit):
            output = forward()
        else:
            with SigmoidInputs(in_place=False) as sigmoids:
                output = forward()
            if type(output) is Tensor:
                self._logits = (call, sigmoids.before(output))
        if type(output) is Tensor:  # of several, only a loss that knows them all could be put at one
            call.changed, call.side = {}, side
        return output

    def output_noted(self, call: Call, output: Tensor) -> None:
        """Stand where the gradient at D's logits will pass."""
        (of, logits), self._logits = self._logits or (None, None), None
        if call.changed is None:
            return
        self._ends_in_sigmoid[id(call.unit)] = call.probability
        if not call.probability:
            logits = output
        elif of is not call or logits is None:
            return  # a sigmoid that nobody has seen: compiled, or in place
        at = logits.detach()

        def hook(gradient: Tensor) -> Tensor | None:
            changed: Tensor | None = self._observer.guard(self._change, call, at, gradient)
            return changed

        logits.register_hook(hook)  # type: ignore[no-untyped-call]

    # -- in the script's backward pass --------------------------------------------------------------------

    def _change(self, call: Call, logits: Tensor, gradient: Tensor) -> Tensor | None:
        """What shall flow on into D in place of `gradient`; None for that itself."""
        if self._observer.in_grad or gradient.requires_grad or call.inside_grad or not self._observer.active:
            return None
        assert call.changed is not None
        total, side = gradient, call.side
        for technique in self._judging[side]:
            name = technique.card.name
            if name in call.changed and side != "g":  # a second pass through one output: of which of them is it all?
                call.changed[name] = (_TWICE, call.changed[name][1])
                continue
            weighs = side == "real" and "bce" in technique.card.suits
            weight = self._batches.weight_of(call) if weighs else logits.new_ones(())
            with torch.enable_grad(), self._observer.quiet():
                x = logits.to(torch.promote_types(logits.dtype, torch.float32)).requires_grad_()
                (own,) = torch.autograd.grad(technique.loss_at(x, side=side, weight=weight), x)
            call.changed[name] = (side, own)
            scale = self._observer.scale
            own = (own if scale is None else own * scale.to(own.device)).to(gradient.dtype)
            total = own if technique.takes_over else total + own
        return None if total is gradient else total

    def _side(self, call: Call) -> str:
        """What the call looks like: "real", "fake", "g", or "" for what is left to the other way."""
        if call.attached:
            return "g" if call.gated and id(call.unit) in self._batches.last else ""
        if len(call.inputs) != 1 or call.inputs[0].ndim < 2:
            return ""
        trace = call.sources[0]
        if trace is None:
            return "real"
        return "fake" if trace.rows is None and self._observer.roles.of(trace.call.owner) == "g" else ""

    # -- at D's step ----------------------------------------------------------------------------------------

    def into_g(self, technique: Technique, call: Call) -> bool:
        """Whether what reaches D's input in this pass already is the gradient of `g_loss`."""
        return _changed_to(call, technique.card.name) == "g"

    def left(self, technique: Technique, step: Step, found: list[Pair]) -> list[Pair]:
        """The pairs whose `d_loss` is not yet in the gradients; of a takeover all or none."""
        if not technique.has("loss_at"):
            return found
        name = technique.card.name
        if not technique.takes_over:
            return [
                pair for pair in found if not (pair.real_call.kind is Kind.REAL and _changed_to(pair.real_call, name))
            ]
        whole = all(pair.share == 1 for pair in found) and len(step.calls) == 2 * len(found)
        done = whole and all(_changed_to(call, name) == _SIDES.get(call.kind, "-") for call in step.calls)
        return [] if done else found

    def wrong(self, technique: Technique, step: Step) -> list[tuple[Call, Tensor]]:
        """The calls that were given a term and were not real after all, and what was added at their logits."""
        if technique.takes_over or not technique.has("loss_at"):
            return []
        name = technique.card.name
        mistaken = [call for call in step.calls if _changed_to(call, name) and call.kind is not Kind.REAL]
        return [(call, call.changed[name][1]) for call in mistaken if call.changed]


def _changed_to(call: Call, name: str) -> str:
    side: str = (call.changed or {}).get(name, ("",))[0]
    return side
