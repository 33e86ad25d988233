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
    """Real, if the gradient at its output points the other way than at the sure fakes' outputs.

    "Not traced to G" alone is no proof: an augmentation without autograd leaves no trace. The opposite sign
    is. On a GPU reading a sign would synchronise; there a sure fake in the same step has to do.
    """
    if call.cotangent is None or call.cotangent.device.type != "cpu":
        return Kind.REAL if call.plain else Kind.UNKNOWN
    sign = float(call.cotangent.sum())
    fakes = [c for c in used if traced(c, roles) and c.cotangent is not None]
    fake_sign = sum(float(c.cotangent.sum()) for c in fakes if c.cotangent is not None)
    if sign == 0.0 or fake_sign == 0.0:  # hinge beyond its margin, saturated losses
        return Kind.REAL
    return Kind.REAL if (sign > 0) != (fake_sign > 0) else Kind.UNKNOWN


def _is_zero(x: Tensor | None) -> bool:
    return x is not None and x.device.type == "cpu" and not bool(x.any())
