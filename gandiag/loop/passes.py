"""Backward passes: which loss each began with, for whose gradients, and which calls it reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from gandiag.loop.calls import Call
from gandiag.loop.cast import Cast
from gandiag.loop.ledger import Ledger
from gandiag.loop.precision import scale_of_loss


class Passes:
    """The backward passes of a loop, as a stack: reentrant checkpointing runs one inside another.

    Attributes:
        depth: how many are running.
        inside_grad: whether the innermost one belongs to torch.autograd.grad and fills no .grad.
        number: of the last pass that filled some.
        scaling: whether losses may have been multiplied by a GradScaler.
        scale: what the last loss that filled some was multiplied by, 0-dim, or None.
        failed: what to do with an error of gandiag's own in the middle of a pass.
    """

    def __init__(self, cast: Cast, ledger: Ledger, failed: Callable[[Exception], None]) -> None:
        self.failed = failed
        self.depth = 0
        self.inside_grad = False
        self.scaling = False
        self.scale: Tensor | None = None
        self._cast = cast
        self._ledger = ledger
        self.number = 0
        self._targets = "dg"
        self._penalty = False
        self._scale: Tensor | None = None
        self._outer: list[tuple[int, bool, bool, str, Tensor | None]] = []

    def begin(self, roots: Any, weights: Any, inputs: Any, accumulate: bool, create_graph: bool) -> None:
        """A pass begins at `roots`, to fill .grad of the leaves or of `inputs`, or to return gradients of `inputs`."""
        self._outer.append((self.number, self.inside_grad, self._penalty, self._targets, self._scale))
        self.depth += 1
        if self.depth > 1 and accumulate:
            return  # a part of the outer pass
        # `grad(loss, D.parameters())` is how some loops train; `grad(D(x).sum(), x)` is a penalty.
        target = self._cast.role_of_parameter(inputs[0]) if inputs else None
        self._targets = target or "dg"
        self.inside_grad = not accumulate and target is None
        # Without a graph nothing can be trained by it: latent optimisation, weights from gradient norms.
        self._penalty = create_graph
        if self.inside_grad:
            return
        self.number += 1
        self._scale = None
        for root, weight in zip(roots, weights, strict=True):
            if isinstance(root, Tensor):
                self._note_loss(root, weight, by_hand=not accumulate)

    def end(self) -> None:
        """The innermost pass has ended."""
        if self._outer:
            number, self.inside_grad, self._penalty, self._targets, self._scale = self._outer.pop()
            self.depth -= 1
            if self.depth:
                self.number = number

    def reached(self, call: Call, output: Tensor, leaf: int) -> Callable[[Tensor], None]:
        """A hook for one leaf of a call's output: notes that a gradient came, and changes nothing.

        Args:
            call: whose output it is.
            output: the leaf, detached; shape (n, ...) or (n,).
            leaf: its number among the output's leaves.
        """

        def hook(gradient: Tensor) -> None:
            try:  # an error here would be raised by the script's own backward()
                self._reached(call, output, leaf, gradient)
            except Exception as error:
                self.failed(error)

        return hook

    def _reached(self, call: Call, output: Tensor, leaf: int, gradient: Tensor) -> None:
        if self.inside_grad:
            if self._penalty:
                call.inside_grad = True
                if not call.plain:
                    call.passes = self.number
            return
        call.plain = True
        call.passes = self.number
        if call.closed:
            call.targets = call.closed = ""
        if call.targets != "dg":
            call.targets += self._targets
        # A D that returns (score, class scores) gets gradients at both, in no order; the score comes first.
        if call.leaf is None or leaf <= call.leaf:
            call.leaf, call.output = leaf, output
            cotangent = gradient.detach() if gradient.requires_grad else gradient
            if self._scale is not None:
                cotangent = cotangent / self._scale.to(cotangent.device, non_blocking=True)
            call.cotangent = cotangent

    def _note_loss(self, root: Tensor, weight: Tensor | None, *, by_hand: bool) -> None:
        if self.scaling:
            self._scale = self.scale = scale_of_loss(root)
        value = root.detach()
        if weight is not None:
            value = value * weight.detach()  # `loss.backward(minus_one)`; one for a plain `loss.backward()`
        if value.ndim or self._scale is not None:
            value = value.sum() if self._scale is None else value.sum() / self._scale
        self._ledger.loss(self.number, value, by_hand=by_hand)
