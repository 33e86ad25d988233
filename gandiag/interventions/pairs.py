"""The real and the fake batch of a D step, however the script hands them to D."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from gandiag.errors import TechniqueRefused
from gandiag.interventions.arguments import pick_rows
from gandiag.loop import Call, Step
from gandiag.loop.calls import Kind


@dataclass
class Pair:
    """One real batch and the fake batch that goes with it, shapes (n, ...) and (m, ...).

    Attributes:
        real, fake: what D saw.
        real_call, fake_call: the calls, with the labels of these rows alone.
        share: this pair's part in the mean over all pairs that the same net saw in this step.
    """

    real: Tensor
    fake: Tensor
    real_call: Call
    fake_call: Call
    share: float = 1.0


def pairs(step: Step) -> list[Pair]:
    """All pairs of a D step: several with gradient accumulation or several discriminators."""
    by_unit: dict[int, list[Pair]] = {}
    sides: dict[int, tuple[list[Call], list[Call]]] = {}
    for call in step.of(Kind.REAL, Kind.FAKE):
        sides.setdefault(id(call.unit), ([], []))[call.kind is Kind.FAKE].append(call)
    for key, (reals, fakes) in sides.items():
        for real, fake in zip(reals, fakes, strict=False):
            a, b = _seen(real), _seen(fake)
            if a is not None and b is not None and a.shape[1:] == b.shape[1:]:
                by_unit.setdefault(key, []).append(Pair(a, b, real, fake))
    for call in step.of(Kind.CAT):
        rows = call.fake_rows
        if rows is not None:
            real, fake = _rows(call, ~rows), _rows(call, rows)
            a, b = _seen(real), _seen(fake)
            if a is not None and b is not None:
                by_unit.setdefault(id(call.unit), []).append(Pair(a, b, real, fake))
    for found in by_unit.values():
        for pair in found:
            pair.share = 1 / len(found)
    return [pair for found in by_unit.values() for pair in found]


def loss_weight(call: Call, last: Tensor | None, *, check: bool, name: str = "") -> Tensor:
    """The script's weight on its loss for the real batch, 0-dim: 0.5 for `(loss_real + loss_fake) / 2`.

    Read off the gradient at D's output: binary cross-entropy with target 1 has the gradient
    weight * (sigmoid(l) - 1) / n there. The least-squares estimate of `weight` over the batch is exact for
    such a loss; a batch on which D is saturated says nothing, and the last estimate stays.

    Args:
        call: one on a real batch.
        last: the last estimate.
        check: raise TechniqueRefused if the gradient is not that of binary cross-entropy.
        name: the technique that needs to know.
    """
    output, cotangent = call.output, call.cotangent
    if output is None or cotangent is None:
        return last if last is not None else torch.ones(())
    known = last if last is not None else torch.ones((), device=output.device, dtype=output.dtype)
    slope = (output if call.probability else torch.sigmoid(output)) - 1
    at_logits = -cotangent * output * slope if call.probability else cotangent
    slope = slope / output.numel()
    power = slope.square().sum()
    weight = (at_logits * slope).sum() / power.clamp_min(1e-30)
    if check:
        miss = (at_logits - weight * slope).norm() / at_logits.norm().clamp_min(1e-30)
        # With some weight any loss fits where the logits are nearly equal: hinge misses by as much as they differ,
        # least squares on probabilities near 1/2 only by its square. Cross-entropy fits up to rounding.
        spread = (slope - slope.mean()).norm() / slope.norm().clamp_min(1e-30)
        rounding = max(1e-5, 50 * torch.finfo(slope.dtype).eps)
        if float(miss) > 0.1 * float(spread) ** 2 + rounding or float(weight) <= 0:
            raise TechniqueRefused(
                f"{name} is defined for binary cross-entropy, and the gradient that reached D's output on the first "
                "real batch is not of it; turn on a technique that suits any loss (r1, instance_noise, spectral_norm)"
            )
    return torch.where(power > 1e-12 / output.numel(), weight, known)


def _seen(call: Call) -> Tensor | None:
    return next((x for x in call.seen if x.ndim >= 2), None)


def _rows(call: Call, rows: Tensor) -> Call:
    """A call as if it had been made with these rows alone."""
    args, kwargs = pick_rows(call.args, call.kwargs, rows)

    def pick(x: Tensor | None) -> Tensor | None:
        return x[rows] if x is not None and x.ndim >= 1 and len(x) == len(rows) else x

    part = copy.copy(call)
    part.args, part.kwargs = args, kwargs
    part.seen = [x[rows] if len(x) == len(rows) else x for x in call.seen if x.ndim >= 1]
    part.output, part.cotangent = pick(call.output), pick(call.cotangent)
    return part
