"""What a loop tells those who listen, and who may change what happens in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gandiag.loop.calls import Call, Step

if TYPE_CHECKING:
    from gandiag.loop.observer import Observer
    from gandiag.loop.pattern import Pattern


class Listener:
    """What wants to know of a loop; every method is optional."""

    def roles_known(self, observer: Observer) -> None:
        """Generator and discriminator have been told apart (again, if they changed)."""

    def call_begins(self, call: Call, role: str) -> Callable[[], None] | None:
        """A unit of known role is about to be called; what is returned runs right after it."""

    def call_ended(self, call: Call, role: str) -> None:
        """A unit of known role has been called."""

    def before_step(self, step: Step) -> None:
        """An optimizer of known role is about to step."""

    def after_step(self, step: Step) -> None:
        """It has stepped."""

    def clipped(self, role: str, norm: Tensor) -> None:
        """The script has clipped gradients of a role's parameters; their total norm before, 0-dim."""

    def iteration_ended(self, iteration: int) -> None:
        """G's optimizer has stepped and `after_step` is done."""

    def wants_round(self, iteration: int) -> bool:
        """Whether the round that comes is to be watched; if nobody wants it, it may be followed (see `Pattern`)."""
        return True

    def round_followed(self, iteration: int, pattern: Pattern) -> None:
        """A round that nobody wanted has gone as expected: instead of all the events above."""

    def round_resumed(self, pattern: Pattern) -> None:
        """Such a round goes on in another way: there are events again, but of the steps in it so far there are none."""


class Director:
    """Runs the forward of a unit whose role is known; interventions replace it to change what happens."""

    def forward(self, call: Call, role: str, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run the call and return what the script shall get."""
        return run(call.unit, *args, **kwargs)

    def output_noted(self, call: Call, output: Tensor) -> None:
        """A call of D has returned this tensor, whose gradient the observer will see; hooks on it run after its own."""

    def backward_begins(self, roots: tuple[Tensor, ...]) -> None:
        """A backward pass for .grad is about to run, from these losses."""

    def needs_roles(self) -> bool:
        """Whether roles must be known before the first forward."""
        return False

    def names(self) -> str:
        """What the training would go on without if the director went; "" if nothing."""
        return ""
