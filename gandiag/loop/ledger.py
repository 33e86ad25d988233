"""The calls that wait for an optimizer step, and what each turned out to be."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.optim import Optimizer

from gandiag.loop.calls import Call, Kind, Phase, Tally
from gandiag.loop.kinds import settle_kinds
from gandiag.loop.roles import Roles
from gandiag.loop.votes import Votes

#: Optimizer steps after which a call is settled as evaluation: if no gradient has reached it, and if one has that no
#: step used (a training loop may leave D out for some rounds and accumulate).
DEAD_AFTER, STALE_AFTER = 3, 64
#: Steps that are kept while nobody knows who is who, and calls that no gradient has reached.
EARLY, PENDING = 16, 64


class Ledger:
    """Pending calls of D, and losses; settles them when an optimizer steps.

    Attributes:
        tally: what has been settled.
        settled_in: whether the roles are sure; until then steps are counted later.
        pending: the calls that have not, in the order in which they were made.
    """

    def __init__(self, roles: Roles) -> None:
        self.tally = Tally()
        self.settled_in = False
        self.pending: list[Call] = []
        self._roles = roles
        self._votes = Votes()
        self._alternates = False
        self._losses: list[tuple[int, Tensor]] = []
        self._by_hand: list[Tensor] = []
        self._spent: list[tuple[int, Tensor]] = []  # losses of the last step of D
        self._conditional: dict[int, bool] = {}  # by D: its second argument is a condition, not the other side
        self._pairs: dict[int, dict[Phase, int]] = {}  # by D: calls counted as pairs while that is not known
        # Steps made before it was known whose they were, with the role that was then thought to be theirs.
        self._early: list[tuple[Optimizer, list[Call], str]] = []

    @property
    def is_clear(self) -> bool:
        """Whether nothing waits for a step."""
        return not (self.pending or self._losses or self._by_hand)

    def forget(self) -> None:
        """Let go of all that waits."""
        self.pending = []
        self._losses, self._by_hand, self._spent, self._early = [], [], [], []

    def wait(self, call: Call, role: str | None) -> None:
        """A call waits for a gradient and a step."""
        if role == "d" and self.settled_in and not call.grad_enabled:
            self._evaluated(call)  # no gradient can reach it, and an evaluation may have thousands of such
            return
        self.pending.append(call)
        if len(self.pending) > PENDING:
            unreached = [i for i, other in enumerate(self.pending) if not (other.plain or other.inside_grad)]
            if len(unreached) > PENDING:
                self._evaluated(self.pending.pop(unreached[0]))

    def _evaluated(self, call: Call) -> None:
        if self._roles.of(call.owner) == "d":
            call.kind = Kind.EVAL
            self.tally.add(Kind.EVAL, Phase.NONE)

    def loss(self, number: int, value: Tensor, *, by_hand: bool) -> None:
        """Note the scalar that backward pass `number` starts from.

        Args:
            number: of the pass.
            value: 0-dim.
            by_hand: from torch.autograd.grad by a net's weights: a loss only where a step has no other one.
        """
        if by_hand:
            self._by_hand.append(value)
        else:
            self._losses.append((number, value))

    def clear(self, role: str, number: int) -> None:
        """The gradients of a role ("d", "g" or "both") are cleared: no step of it can use what came before.

        Args:
            role: whose.
            number: of the last backward pass.
        """
        for call in self.pending:
            # The gradients that a penalty's call returned are in no .grad until a backward pass has used them.
            if call.plain or (call.inside_grad and call.passes < number):
                call.closed += "dg" if role == "both" else role

    def settle_later(self, optimizer: Optimizer) -> None:
        """An optimizer of nobody knows which role has stepped: keep what it used until that is known."""
        self._losses.clear()
        self._by_hand.clear()
        self._early.append((optimizer, [call for call in self.pending if call.plain or call.inside_grad], ""))
        del self._early[:-EARLY]
        self.pending = [call for call in self.pending if not (call.plain or call.inside_grad)][-PENDING:]

    def settle_in(self, role_of: Callable[[Optimizer], str | None]) -> None:
        """From now on the roles are sure: count the steps before, judged by what is known now."""
        self.settled_in = True
        early, self._early = self._early, []
        for optimizer, calls, _ in early:
            used = [call for call in calls if self._roles.of(call.owner) == "d"]
            role = role_of(optimizer)
            if role is not None and used:
                self._settle(role, used)

    def settle(self, role: str, optimizer: Optimizer) -> tuple[str, list[Call], list[Tensor]]:
        """An optimizer of a role steps: what it uses.

        Returns:
            The step's role ("both" becomes "d" or "g" by what it used), its calls, and its losses.
        """
        used, rest = self._split(role)
        if used:
            if not self.settled_in:
                settle_kinds(used, self._roles, None)
                role = self._role_of_joint(used) if role == "both" else role
                self._early.append((optimizer, used, role))
                if len(self._early) > EARLY:  # a critic that trains alone at first; its batches are not to pile up
                    _, calls, thought = self._early.pop(0)
                    if thought:
                        self._settle(thought, calls)
            else:
                role = self._settle(role, used)
        self.pending = self._age(rest, role) if rest else rest
        return role, used, self._losses_of(role, rest)

    def _settle(self, role: str, used: list[Call]) -> str:
        # G's steps are what the votes are measured by: they cannot be voted on themselves.
        asked = settle_kinds(used, self._roles, None if role == "g" else self._votes)
        if role == "both":
            role = self._role_of_joint(used)
        if role == "g":
            for call in used:
                if call.kind is Kind.FAKE:
                    self._votes.calibrate(call)
        else:
            self._votes.saw_fakes(used)
        self._count(used, Phase.G if role == "g" else Phase.D)
        if asked:
            for before, after, count in self._votes.settled():
                self.tally.move(count, Phase.D, before=before, after=after)
        return role

    def _split(self, role: str) -> tuple[list[Call], list[Call]]:
        used: list[Call] = []
        rest: list[Call] = []
        of = self._roles.of
        attached: set[int] | None = None
        for call in self.pending:
            if not (call.plain or call.inside_grad) or of(call.owner) != "d":
                rest.append(call)
            elif role == "both":
                (rest if "d" in call.closed and "g" in call.closed else used).append(call)
            elif role in call.closed or (call.plain and role not in call.targets):
                rest.append(call)
            elif role == "d":
                (rest if call.frozen else used).append(call)
            else:
                # A backward pass that reached no call on something of G's has left nothing in G's gradients.
                if attached is None:
                    attached = {c.passes for c in self.pending if c.attached}
                (used if call.passes in attached else rest).append(call)
        return used, rest

    def _role_of_joint(self, used: list[Call]) -> str:
        """What a step of an optimizer over both nets was for: fakes on G's graph alone say G.

        "both" if all is done in one step: D saw data, G got a gradient, and no step has been G's alone so far.
        """
        if all(call.kind is Kind.FAKE and call.attached for call in used):
            self._alternates = True
            return "g"
        return "d" if self._alternates or not any(call.attached for call in used) else "both"

    def _count(self, used: list[Call], phase: Phase) -> None:
        for call in used:
            call.phase = phase
            if len(call.sources) > 1:
                self._tell_pairs(call, used, phase)
            self.tally.add(call.kind, phase)

    def _tell_pairs(self, call: Call, used: list[Call], phase: Phase) -> None:
        """D(fake, condition) looks like D(fake, real), until D is seen to be called without any fake."""
        unit = id(call.unit)
        if call.kind is Kind.REAL and not self._conditional.get(unit):
            self._conditional[unit] = True
            for earlier, count in self._pairs.pop(unit, {}).items():
                self.tally.move(count, earlier, before=Kind.PAIR, after=Kind.FAKE)
        elif call.kind is Kind.PAIR:
            if not self._conditional.get(unit) and phase is Phase.D:
                calls = [other for other in used if other.unit is call.unit and other.plain]
                self._conditional[unit] = any(other.kind in (Kind.REAL, Kind.UNKNOWN) for other in calls)
            if self._conditional.get(unit):
                call.kind = Kind.FAKE
                for earlier, count in self._pairs.pop(unit, {}).items():
                    self.tally.move(count, earlier, before=Kind.PAIR, after=Kind.FAKE)
            else:
                phases = self._pairs.setdefault(unit, {})
                phases[phase] = phases.get(phase, 0) + 1

    def _age(self, rest: list[Call], role: str) -> list[Call]:
        waiting = []
        for call in rest:
            call.age += 1
            if call.plain or call.inside_grad:
                alive = call.age < STALE_AFTER and not ("d" in call.closed and (role == "g" or "g" in call.closed))
            else:
                alive = call.age < DEAD_AFTER and call.grad_enabled
            if alive:
                waiting.append(call)
                continue
            if call.plain:  # its loss has fed no step, and must not be taken for the next one's
                self._losses = [item for item in self._losses if item[0] != call.passes]
            self._evaluated(call)
        return waiting

    def _losses_of(self, role: str, rest: list[Call]) -> list[Tensor]:
        losses, self._losses = self._losses, []
        by_hand, self._by_hand = self._by_hand, []
        if rest:
            others = {call.passes for call in rest if call.plain}
            if others:
                self._losses = [item for item in losses if item[0] in others]
                losses = [item for item in losses if item[0] not in others]
        if role == "d":
            self._spent = losses
        elif not losses and not by_hand:  # one backward pass for both nets' steps
            losses, self._spent = self._spent, []
        if not losses:
            return by_hand
        return [value for _, value in losses]
