"""What a call of D saw: real, fake, both, or nothing that can be told."""

from __future__ import annotations

from torch import Tensor

from gandiag.loop.calls import Call, Kind
from gandiag.loop.roles import Roles


def settle_kind(call: Call, used: list[Call], roles: Roles) -> Kind:
    """The kind of a call that fed an optimizer step together with the calls `used`, itself among them."""
    kind = _by_trace(call, roles)
    if kind is Kind.UNKNOWN and any(traced(other, roles) for other in used):
        return _by_elimination(call, used, roles)
    return kind


def traced(call: Call, roles: Roles) -> bool:
    """Whether any of its inputs came from G."""
    return any(t is not None and roles.of(t.call.owner) == "g" for t in call.sources)


def _by_trace(call: Call, roles: Roles) -> Kind:
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


def _by_elimination(call: Call, used: list[Call], roles: Roles) -> Kind:
    """Real, if there is more to say for it than that it was not traced to G.

    "Not traced" alone is no proof: an augmentation without autograd leaves no trace. Two things are: the step
    fed D as many sure fakes as calls like this one (an augmented fake would come on top of, or in place of,
    a sure one), or the gradient at its output points the other way than at the sure fakes'. The sign alone
    decides too little: while D still puts real and fake on the same side of a least-squares target, both
    gradients point the same way. And reading it would synchronise on a GPU.
    """
    if call.cotangent is None or not call.plain:
        return Kind.UNKNOWN
    alike = [c for c in used if c.unit is call.unit and c.plain and _by_trace(c, roles) is not Kind.PENALTY]
    fakes = [c for c in alike if traced(c, roles)]
    if len(fakes) >= len(alike) - len(fakes):
        return Kind.REAL
    if call.cotangent.device.type != "cpu" or not fakes:
        return Kind.UNKNOWN
    sign = float(call.cotangent.sum())
    fake_sign = sum(float(c.cotangent.sum()) for c in fakes if c.cotangent is not None)
    return Kind.REAL if sign * fake_sign < 0 else Kind.UNKNOWN


def _is_zero(x: Tensor | None) -> bool:
    return x is not None and x.device.type == "cpu" and not bool(x.any())
