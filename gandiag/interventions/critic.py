"""D as a differentiable function that leaves no trace, for the losses of techniques."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gandiag.errors import TechniqueRefused
from gandiag.interventions.arguments import first_leaf, in_full_precision, replace_samples, samples
from gandiag.interventions.network import Changes, SigmoidInputs, call_net, preserved
from gandiag.loop import Call, Observer
from gandiag.loop.cast import unwrapped


class DCritic:
    """See `gandiag.techniques.base.Critic`.

    Args:
        observer: told to look away while gandiag calls D.
        changes: the networks seam, so that a penalty sees the D that the script trains.
        real, fake: the script's calls whose labels and other inputs are used.
    """

    def __init__(self, observer: Observer, changes: Changes, *, real: Call, fake: Call) -> None:
        self._observer = observer
        self._changes = changes
        self._sides = {"real": real, "fake": fake}

    def __call__(self, x: Tensor, *, like: str = "real", weights: dict[str, Tensor] | None = None) -> Tensor:
        """Logits of `x`, one for each pack; a D that ends in a sigmoid is read before it.

        Raises:
            TechniqueRefused: D is not shown what `x` is; the script does something in between.
        """
        shown = samples(self._sides[like].args, self._sides[like].kwargs)
        if shown is not None and shown.shape[1:] != x.shape[1:]:
            raise TechniqueRefused(
                f"{type(self._sides[like].unit).__name__} is shown samples of shape {tuple(shown.shape[1:])} in this "
                f"script, and G makes {tuple(x.shape[1:])}: what lies between (a condition that is joined to them, "
                "another net) is the script's own, so a technique that has G make samples for D cannot be used; turn "
                "on r1, lecam or spectral_norm, or write it into the script"
            )
        with SigmoidInputs() as sigmoids:
            logits: Tensor = sigmoids.logits(first_leaf(self._run(x, like, weights)))
        return logits

    def parameters(self) -> dict[str, nn.Parameter]:
        """The script's own that are trained, by name; not those that techniques have added."""
        return self._changes.parameters()

    def features(self, x: Tensor, *, like: str = "real") -> Tensor:
        """The input of D's last layer, flattened, shape (n, f)."""
        caught: list[Tensor] = []
        self._changes.catch = caught.append
        try:
            self._run(x, like)
        finally:
            self._changes.catch = None
        if not caught:
            raise TechniqueRefused("D's last layer was not called in this forward, so its features cannot be had")
        return caught[-1].flatten(1)

    def _run(self, x: Tensor, like: str, weights: dict[str, Tensor] | None = None) -> Any:
        call = self._sides[like]
        # A copy: D may begin with an in-place operation, which a leaf would refuse and a batch must not suffer.
        args, kwargs = in_full_precision(call.unit, *replace_samples(call.args, call.kwargs, x.clone()))
        with self._observer.quiet(), preserved([call.unit], x.device), torch.autocast(x.device.type, enabled=False):
            if weights is not None:
                return self._changes.run(args, kwargs, forward=_with(weights), update=False, expand=False)
            # Through __call__, not forward: the script's own forward hooks (torch's old spectral norm is one)
            # must make their weights anew, as the graph of the last ones is gone.
            return self._changes.run(args, kwargs, forward=call_net, update=False, expand=False)


def _with(weights: dict[str, Tensor]) -> Any:
    return lambda net, *args, **kwargs: functional_call(unwrapped(net), weights, args, kwargs)
