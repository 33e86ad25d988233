"""The rounds of a loop: when one ends, and whether the next one is watched or followed."""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable

from torch.optim import Optimizer

from gandiag.loop.calls import Step, Tally
from gandiag.loop.cast import Cast
from gandiag.loop.forwards import Forwards
from gandiag.loop.listener import Listener
from gandiag.loop.pattern import ExpectedStep
from gandiag.loop.taint import ROUNDS

#: Rows of inputs are compared with G's outputs by value in the first iterations and then in each 100th, as long
#: as no comparison has ever found anything: in most loops storage and ancestry tell all there is.
LOOK_AT_ROWS, LOOK_AGAIN = 10, 100
#: Steps of another optimizer of G's, in a row, after which it and not the first one sets the pace.
MISSED = 8
#: Steps that are counted together: one by one it costs as much as the rest of what is done at a step.
UNCOUNTED = 256


class Rounds(Forwards):
    """What the observer does at the end of steps and of iterations; `Observer` has the rest.

    Attributes:
        listeners: told of roles, steps and iterations, in this order.
        iteration: how many have ended.
    """

    def __init__(self, cast: Cast) -> None:
        super().__init__(cast)
        self.iteration = 0
        self.listeners: list[Listener] = []
        self._step: Step | None = None
        self._steps_followed: list[ExpectedStep] = []  # not in the tally yet
        self._pace: Callable[[], Optimizer | None] = lambda: None
        self._missed: dict[int, int] = {}  # steps of G's other optimizers since the last one of it

    @abstractmethod
    def _end_taint(self) -> None: ...

    def after_step(self, optimizer: Optimizer) -> None:
        """Tell the listeners, and end the iteration if the step was G's."""
        step, self._step = self._step, None
        if self._idle or step is None or step.optimizer is not optimizer:
            if self.pattern.following and self.pattern.over() and not self._idle:
                self._end_followed()
            return
        for listener in self.listeners:
            self.guard(listener.after_step, step)
        role = step.role
        self.steps[role] += 1
        if role != "d":
            # Of several generators' optimizers the first one sets the pace: an iteration is one round of it.
            if optimizer is not self._pace():
                self._missed[id(optimizer)] = self._missed.get(id(optimizer), 0) + 1
                if self._sets_pace(role, optimizer):
                    self._pace = weakref.ref(optimizer)
            if optimizer is self._pace():
                self._missed.clear()
                self.guard(self._end_iteration)

    def _end_iteration(self) -> None:
        self.iteration += 1
        if self.taint is not None and self.iteration >= ROUNDS:
            self._end_taint()
        if not self.ledger.settled_in:
            self._settle_in()
        looking = self._rows_help or self.iteration < LOOK_AT_ROWS or self.iteration % LOOK_AGAIN == 0
        self._provenance.look_at_rows(looking)
        for listener in self.listeners:
            self.guard(listener.iteration_ended, self.iteration)
        # With a director every call is its business: no round is followed, and what rounds are like is not learned.
        if self.director is None:
            alike = self.pattern.round_ended(self._round_began)
            self._round_began = self.passes.number
            if alike and self._may_follow():
                self._follow_next()

    def _settle_in(self) -> None:
        """A whole round is over: what was seen in it is judged once more, by all that it has shown."""
        if self.roles.keep_learners():
            self._roles_changed()
        # A loop that steps G first ends its first iteration before D has ever stepped.
        if self.steps["d"] or self.steps["both"]:
            self._settled_in = not self.roles.guessed
            self.ledger.settle_in(self._cast.role)

    def _sets_pace(self, role: str, optimizer: Optimizer) -> bool:
        """The first G optimizer does, then whatever is made anew for its parameters; one over both nets only alone."""
        pace = self._pace()
        if pace is None or self._missed[id(optimizer)] > MISSED:  # the one that did is gone, or steps no more
            return True
        joint, was_joint = (self._cast.role(o) == "both" for o in (optimizer, pace))
        if joint != was_joint:
            return role == "g" and was_joint
        held = {id(p) for group in pace.param_groups for p in group["params"]}
        return any(id(p) in held for group in optimizer.param_groups for p in group["params"])

    # -- rounds that are followed --------------------------------------------------------------------------

    @property
    def tally(self) -> Tally:
        """Of D's calls, those of followed rounds too."""
        steps, self._steps_followed = self._steps_followed, []
        known = {id(step): step for step in steps}  # a few, and hashing one takes longer than counting it
        for key, times in Counter(map(id, steps)).items():
            for kind, phase, count in known[key].counts:
                self.ledger.tally.add(kind, phase, count * times)
        return self.ledger.tally

    def _end_followed(self) -> None:
        pattern = self.pattern
        pattern.end()
        self.iteration = iteration = self.iteration + 1
        self._round_began = self.passes.number
        for listener in self.listeners:
            try:
                listener.round_followed(iteration, pattern)
            except Exception as error:
                self._stumbled(error)
        if len(self._steps_followed) > UNCOUNTED:
            _ = self.tally
        if iteration % LOOK_AGAIN == 0:
            self._provenance.look_at_rows(True)
        else:
            self._follow_next()

    def _resumed(self) -> None:
        for listener in self.listeners:
            self.guard(listener.round_resumed, self.pattern)

    def _may_follow(self) -> bool:
        """Whether nothing is open at the end of a round that was watched, and nothing wants to see every call."""
        return (
            self._settled_in
            and self.ledger.is_clear
            and bool(self.listeners)
            and not self._chains
            and not self._provenance.by_value
        )

    def _follow_next(self) -> None:
        """Follow the round that comes, if nobody wants to see it."""
        if self.callers or self.units.stale or self._off:
            return
        coming = self.iteration + 1
        for listener in self.listeners:
            try:
                if listener.wants_round(coming):
                    return
            except Exception as error:
                self._stumbled(error)
                return
        self.pattern.follow()
