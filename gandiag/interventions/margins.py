"""Whether the script's loss of D ends at a margin, read off its graph.

A hinge loss and a Wasserstein loss send the same gradients as long as no logit has crossed the margin. What a technique
shows D instead may cross it earlier than the script's own samples do, so gradients alone come too late: between D's
output and a hinge loss there is an operation that cuts values off, and between D's output and a Wasserstein loss none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from gandiag.loop.calls import leaves

_CUTS = (
    "ReluBackward",
    "ClampBackward",
    "ClampMinBackward",
    "ThresholdBackward",
    "MaximumBackward",
    "HardtanhBackward",
)
#: Nodes between a loss and D's output, at most.
_WALK = 256


class Margins:
    """Looks at the losses of the first steps.

    Attributes:
        found: whether a loss with a margin has been seen.
    """

    def __init__(self) -> None:
        self.found = False
        self._outputs: list[Any] = []  # nodes of D's outputs; each keeps its graph alive, so they are let go

    def output_made(self, output: Any) -> None:
        """D has made an output with a graph."""
        self._outputs += [leaf.grad_fn for leaf in leaves(output) if leaf.grad_fn is not None]

    def backward_begins(self, roots: Iterable[Tensor]) -> None:
        """Walk from the losses to D's outputs."""
        ends = set(self._outputs)
        todo = [root.grad_fn for root in roots if isinstance(root, Tensor) and root.grad_fn is not None]
        seen = set(todo)
        cuts, reached = False, False
        while todo and len(seen) < _WALK:
            node = todo.pop()
            if node in ends:
                reached = True
                continue
            cuts = cuts or node.name().startswith(_CUTS)
            following = {after for after, _ in node.next_functions if after is not None} - seen
            seen |= following
            todo += following
        self.found = self.found or (cuts and reached)

    def step_done(self) -> None:
        """Let go of the graphs."""
        self._outputs.clear()
