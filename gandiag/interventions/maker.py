"""G as a differentiable function that leaves no trace, for the losses of techniques."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gandiag.interventions.arguments import first_leaf, in_full_precision, replace_samples
from gandiag.interventions.network import Changes, call_net, preserved
from gandiag.loop import Call, Observer


class GMaker:
    """See `gandiag.techniques.base.Maker`.

    Args:
        observer: told to look away while gandiag calls G.
        changes: what techniques change inside G, so that the G that the script trains is the one that is asked.
        call: the script's call; a latent may have fewer rows than it had, not more.
    """

    def __init__(self, observer: Observer, changes: Changes, call: Call) -> None:
        self._observer = observer
        self._changes = changes
        self._call = call

    def __call__(self, z: Tensor) -> Tensor:
        """G's first output for the latents `z`, (n, ...)."""
        call = self._call
        args, kwargs = in_full_precision(call.unit, *replace_samples(call.args, call.kwargs, z.clone()))
        with self._observer.quiet(), preserved([call.unit], z.device), torch.autocast(z.device.type, enabled=False):
            return first_leaf(self._changes.run(args, kwargs, forward=call_net, update=False))

    def parameters(self) -> dict[str, nn.Parameter]:
        """The script's own that are trained, by name."""
        return self._changes.parameters()
