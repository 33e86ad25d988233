"""What a call of D saw: real, fake, both, or nothing that can be told."""

from __future__ import annotations

from torch import Tensor

from gandiag.loop.calls import Call, Kind
from gandiag.loop.roles import Roles
from gandiag.loop.votes import Votes, place_of


def settle_kinds(used: list[Call], roles: Roles, votes: Votes | None) -> bool:
    """Set the kind of each call that fed D's step; True if the votes were asked.

    What was traced to G is fake. Of the rest it is no proof of real that it was not: an augmentation without
    autograd leaves no trace. Real is a call that is alone in its step, for its net, beside at least one sure fake
    (D is not trained without data). Where there are several, or no sure fake, votes decide (see `votes`), and
    until they do a call counts as real if its step has as many sure fakes, else as unknown.

    Args:
        used: the calls of one step, in their order.
        roles: who is who.
        votes: None where there is nothing to measure votes by.
    """
    open_ = mixed = False
    for call in used:
        call.kind = by_trace(call, roles, used)
        if call.clean and call.kind is Kind.UNKNOWN:
            call.kind = Kind.REAL
        open_ = open_ or call.kind is Kind.UNKNOWN
        mixed = mixed or (call.inside_grad and call.kind is not Kind.PENALTY)
    if mixed:
        _tell_penalties(used, roles)
    if votes is not None and any(call.clean is not None for call in used):
        _teach(used, votes)
    if not open_:
        return False
    asked = False
    by_unit: dict[int, list[Call]] = {}
    for call in used:
        if call.plain and call.kind is not Kind.PENALTY:
            by_unit.setdefault(id(call.unit), []).append(call)
    for calls in by_unit.values():
        untold = [call for call in calls if call.kind is Kind.UNKNOWN]
        if untold and votes is not None and votes.has_been_taught:
            for call, place in zip(calls, _places(calls), strict=True):
                if call.kind is Kind.UNKNOWN:
                    call.kind = votes.taught(call, place)
            untold = [call for call in untold if call.kind is Kind.UNKNOWN]
        for call in calls if untold else ():
            if call.kind is Kind.PAIR:  # D(fake, label) beside D(real, label)
                call.kind = Kind.FAKE
        fakes = sum(call.kind is Kind.FAKE for call in calls)
        if len(untold) == 1 and fakes:
            untold[0].kind = Kind.REAL
            continue
        if not untold:
            continue
        default = Kind.REAL if fakes >= len(untold) else Kind.UNKNOWN
        places, mistold = {}, set()
        for number, call in enumerate(calls):
            if call in untold:
                place = places[id(call)] = place_of(call, number, len(calls))
                told = votes.ask(call, place, default) if votes is not None else None
                call.kind = told or default
                # Where fakes can be traced, what cannot and is called fake by the loss may be a sample with
                # somebody else's condition, which is real.
                if told is Kind.FAKE and fakes and len(call.inputs) > 1:
                    call.kind = Kind.UNKNOWN
                if told is Kind.FAKE:
                    mistold.add(id(call))
                asked = True
        _tell_alike(untold)
        for call in untold:
            if votes is not None and id(call) in mistold and call.kind is not Kind.FAKE:
                votes.overrule(places[id(call)], call.kind)
    return asked


def _teach(used: list[Call], votes: Votes) -> None:
    """Note what the taint pass has told of the places in a step, for the rounds after it."""
    by_unit: dict[int, list[Call]] = {}
    for call in used:
        if call.plain and call.kind is not Kind.PENALTY:
            by_unit.setdefault(id(call.unit), []).append(call)
    for calls in by_unit.values():
        for call, place in zip(calls, _places(calls), strict=True):
            if not _sure(call):
                votes.teach(call, place)


def _sure(call: Call) -> bool:
    """Whether it is traced to G by what is looked at in each round, which taint and values are not."""
    return any(t is not None and not (t.by_rows or t.by_taint) for t in call.sources)


def _places(calls: list[Call]) -> list[tuple[object, ...]]:
    """Where each of a unit's calls stands in its step, among which others: the script's text fixes that."""
    pattern = tuple((_sure(call), *place_of(call, 0, 0)[3:]) for call in calls)
    return [(id(call.unit), number, pattern) for number, call in enumerate(calls)]


def _tell_alike(calls: list[Call]) -> None:
    """Calls on the same samples are of the same kind: D(x, y) and D(x, somebody else's y), which is to be "fake"."""
    reals = {_samples(call) for call in calls if call.kind is Kind.REAL and call.inputs}
    for call in calls:
        if call.kind is not Kind.REAL and call.inputs and _samples(call) in reals:
            call.kind = Kind.REAL


def _samples(call: Call) -> tuple[int, int]:
    """What lay in memory: one buffer may hold real samples first and then fakes."""
    return call.inputs[0].untyped_storage()._cdata, call.versions[0]


def _tell_penalties(used: list[Call], roles: Roles) -> None:
    """Of calls with both kinds of gradient, tell those that are for a penalty alone.

    The penalty's own backward pass sends a plain gradient to D's output where D ends in something curved, such as
    a sigmoid. But then the step has another call on the same side, without a penalty, that is for the loss.
    """
    for call in used:
        if call.inside_grad and call.kind is not Kind.PENALTY:
            side = traced(call, roles)
            others = (c for c in used if c.unit is call.unit and not c.inside_grad and c.plain)
            if any(traced(other, roles) == side for other in others):
                call.kind = Kind.PENALTY


def traced(call: Call, roles: Roles) -> bool:
    """Whether any of its inputs came from G."""
    return any(t is not None and roles.of(t.call.owner) == "g" for t in call.sources)


def by_trace(call: Call, roles: Roles, used: list[Call]) -> Kind:
    """The kind of a call as far as the origin of its inputs and the way of its gradients tell it."""
    if call.inside_grad and (not call.plain or _is_zero(call, used)):
        return Kind.PENALTY  # `logits * 0 + r1`: the plain gradient exists and is zero
    sources = call.sources
    if len(sources) == 1:
        trace = sources[0]
        if trace is None or roles.of(trace.call.owner) != "g" or call.inputs[0].ndim < 2:
            return Kind.UNKNOWN
        return Kind.FAKE if trace.rows is None else Kind.CAT
    traces = [t for x, t in zip(call.inputs, sources, strict=True) if x.ndim >= 2]
    fakes = [t for t in traces if t is not None and roles.of(t.call.owner) == "g"]
    if not fakes:
        return Kind.UNKNOWN
    if fakes[0].rows is not None:
        return Kind.CAT
    shapes = {tuple(x.shape[1:]) for x, t in zip(call.inputs, sources, strict=True) if t in fakes}
    others = [x for x, t in zip(call.inputs, sources, strict=True) if t is None and tuple(x.shape[1:]) in shapes]
    return Kind.PAIR if others else Kind.FAKE


def _is_zero(call: Call, used: list[Call]) -> bool:
    """Whether the plain gradient is zero, as in a step that is only for the penalty.

    On a GPU, where looking would wait, such a step is known by having calls of this one sort alone.
    """
    x: Tensor | None = call.cotangent
    if x is None or x.device.type == "cpu":
        return x is not None and not bool(x.any())
    return all(other.inside_grad for other in used)
