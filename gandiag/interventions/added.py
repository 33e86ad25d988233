"""Parameters that techniques add to D, trained as the layers that they belong to."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from gandiag.techniques import Technique


class Added:
    """Steps the added parameters with optimizers of the same class and settings as the script's.

    They are kept out of the script's own optimizers: its checkpoints must load without gandiag too.
    """

    def __init__(self, techniques: Sequence[Technique]) -> None:
        self._techniques = [t for t in techniques if t.has("added")]
        self._own: dict[int, Optimizer] = {}

    def all(self) -> list[nn.Parameter]:
        """Every added parameter."""
        return [p for t in self._techniques for parameters in t.added().values() for p in parameters]

    def of(self, script: Optimizer) -> list[nn.Parameter]:
        """Those that belong to layers which this optimizer trains."""
        return [p for _, parameters in self._groups(script) for p in parameters]

    def step(self, script: Optimizer) -> None:
        """What `script.step()` would do to them if it held them in its layers' groups."""
        groups = self._groups(script)
        if not groups:
            return
        own = self._own.get(id(script))
        if own is None:
            takes = inspect.signature(type(script)).parameters
            make: Any = type(script)
            own = self._own[id(script)] = make(
                [
                    {
                        "params": parameters,
                        **{key: value for key, value in group.items() if key in takes and key != "params"},
                    }
                    for group, parameters in groups
                ]
            )
        for (group, _), mine in zip(groups, own.param_groups, strict=True):
            mine.update({key: value for key, value in group.items() if key != "params"})
        own.step()

    def beside(self, script: Optimizer) -> list[list[nn.Parameter]]:
        """For each of the optimizer's groups, those that belong to its layers."""
        if not self._techniques:  # most have none, and this is asked several times in each step
            return [[] for _ in script.param_groups]
        found = []
        for group in script.param_groups:
            held = {id(p) for p in group["params"]}
            found.append(
                [
                    p
                    for technique in self._techniques
                    for layer, added in technique.added().items()
                    if any(id(own) in held for own in layer.parameters())
                    for p in added
                ]
            )
        return found

    def _groups(self, script: Optimizer) -> list[tuple[dict[str, Any], list[nn.Parameter]]]:
        if not self._techniques:
            return []
        pairs = zip(script.param_groups, self.beside(script), strict=True)
        return [(group, parameters) for group, parameters in pairs if parameters]
