"""D as a differentiable function that leaves no trace, for the losses of techniques."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gandiag.errors import TechniqueRefused
from gandiag.interventions.network import Changes, SigmoidInputs, first_leaf, preserved, replace_samples
from gandiag.loop import Call, Observer


class DCritic:
    """See `gandiag.techniques.base.Critic`.

    Args:
        observer: told to look away while gandiag calls D.
        changes: the networks seam, so that a penalty sees the D that the script trains.
        sides: the script's calls whose labels and other inputs are used, "real" and "fake".
    """

    def __init__(self, observer: Observer, changes: Changes, sides: dict[str, Call]) -> None:
        self._observer = observer
        self._changes = changes
        self._sides = sides

    def __call__(self, x: Tensor, *, like: str = "real") -> Tensor:
        """Logits of `x`; a D that ends in a sigmoid is read before it."""
        with SigmoidInputs() as sigmoids:
            logits = sigmoids.logits(first_leaf(self._run(x, like)))
        return self._changes.output(logits, len(x))

    def features(self, x: Tensor, *, like: str = "real") -> Tensor:
        """The input of D's last layer, flattened, shape (n, f)."""
        self._changes.captured = None
        self._run(x, like)
        captured, self._changes.captured = self._changes.captured, None
        if captured is None:
            raise TechniqueRefused("D's last layer was not called in this forward, so its features cannot be had")
        return captured.flatten(1)

    def _run(self, x: Tensor, like: str) -> Any:
        call = self._sides.get(like) or next(iter(self._sides.values()))
        args, kwargs = replace_samples(call.args, call.kwargs, x)
        with self._observer.quiet(), preserved([call.unit], x.device):
            # Through __call__, not forward: the script's own forward hooks (torch's old spectral norm is one)
            # must make their weights anew, as the graph of the last ones is gone.
            return self._changes.run(call.unit, args, kwargs, forward=_call, update=False, expand=False)


def _call(net: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return net(*args, **kwargs)
