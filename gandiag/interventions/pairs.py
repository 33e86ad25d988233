"""The real and the fake batch of a D step, however the script hands them to D."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gandiag.errors import TechniqueRefused
from gandiag.loop import Call, Step
from gandiag.loop.calls import Kind


@dataclass
class Pair:
    """One real batch and the fake batch that goes with it, shapes (n, ...) and (m, ...)."""

    real: Tensor
    fake: Tensor
    real_call: Call
    fake_call: Call


def pairs(step: Step) -> list[Pair]:
    """All pairs of a D step: several with gradient accumulation or several discriminators."""
    found = []
    by_unit: dict[int, tuple[list[Call], list[Call]]] = {}
    for call in step.of(Kind.REAL, Kind.FAKE):
        sides = by_unit.setdefault(id(call.unit), ([], []))
        sides[call.kind is Kind.FAKE].append(call)
    for reals, fakes in by_unit.values():
        for real, fake in zip(reals, fakes, strict=False):
            a, b = _seen(real), _seen(fake)
            if a is not None and b is not None and a.shape[1:] == b.shape[1:]:
                found.append(Pair(a, b, real, fake))
    for call in step.of(Kind.CAT):
        x = _seen(call)
        rows = next((t.rows for t in call.sources if t is not None and t.rows is not None), None)
        if x is not None and rows is not None:
            found.append(Pair(x[~rows], x[rows], call, call))
    return found


def loss_weight(found: list[Pair], last: Tensor | None, *, check: bool) -> Tensor:
    """The script's weight on its loss for the real batch, 0-dim: 0.5 for `(loss_real + loss_fake) / 2`.

    Read off the gradient at D's output: binary cross-entropy with target 1 has the gradient
    weight * (sigmoid(l) - 1) / n there. The least-squares estimate of `weight` over the batch is exact for
    such a loss; a batch on which D is saturated says nothing, and the last estimate stays.

    Args:
        found: the pairs of this step.
        last: the last estimate.
        check: raise TechniqueRefused if the gradient is not that of binary cross-entropy.
    """
    call = found[0].real_call
    output, cotangent = call.output, call.cotangent
    if output is None or cotangent is None or call.kind is Kind.CAT:
        return last if last is not None else torch.ones((), device=found[0].real.device)
    if call.probability:
        slope = -(1 - output)
        at_logits = cotangent * output * (1 - output)
    else:
        slope = torch.sigmoid(output) - 1
        at_logits = cotangent
    slope = slope / output.numel()
    power = slope.square().sum()
    weight = (at_logits * slope).sum() / power.clamp_min(1e-30)
    if check:
        miss = (at_logits - weight * slope).norm() / at_logits.norm().clamp_min(1e-30)
        if float(miss) > 0.05 or float(weight) <= 0:
            raise TechniqueRefused(
                "label_smoothing is defined for binary cross-entropy, and the gradient that reached D's output on the "
                "first real batch is not of it; use instance_noise, r1 or spectral_norm against a D that is too strong"
            )
    known = last if last is not None else torch.ones_like(weight)
    return torch.where(power > 1e-12 / output.numel(), weight, known)


def _seen(call: Call) -> Tensor | None:
    return next((x for x in call.seen if x.ndim >= 2), None)
