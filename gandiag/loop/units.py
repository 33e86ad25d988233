"""Which modules are networks: units, found by the optimizers that own their parameters."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator

import torch
from torch import nn

Owner = frozenset[int]


class Units:
    """Every live module whose optimised parameters all have one owner.

    An owner is the set of optimizers that hold a parameter, as a frozenset of their ids: a parameter that a
    second optimizer holds too (InfoGAN's third one) has an owner of its own. Modules without optimised
    parameters (losses, EMA copies, Inception) are not units.
    """

    def __init__(self) -> None:
        self._optimizers: dict[int, torch.optim.Optimizer] = {}
        self._owner_of_module: dict[int, Owner] = {}
        self._maximal: dict[Owner, list[nn.Module]] = {}
        self._forced: dict[int, Owner] = {}

    def add_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Take note of an optimizer; call `scan` afterwards."""
        # Optimizers are held strongly: an id that is reused by a later object would mix two owners.
        self._optimizers[id(optimizer)] = optimizer

    def knows(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether `add_optimizer` has seen it."""
        return id(optimizer) in self._optimizers

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """All optimizers seen, in the order in which they were made."""
        return list(self._optimizers.values())

    def scan(self, modules: Iterable[nn.Module] | None = None) -> None:
        """Rebuild the table from all live modules, or from the given roots and what they contain."""
        held: dict[int, set[int]] = {}
        for key, optimizer in self._optimizers.items():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    held.setdefault(id(parameter), set()).add(key)
        everything = list(live_modules()) if modules is None else [m for root in modules for m in root.modules()]
        self._owner_of_module = {}
        children: set[int] = set()
        for module in everything:
            owners = {frozenset(held[id(p)]) for p in module.parameters() if id(p) in held}
            if len(owners) == 1:
                self._owner_of_module[id(module)] = owners.pop()
        for module in everything:
            if id(module) in self._owner_of_module:
                children.update(id(sub) for sub in module.modules() if sub is not module)
        self._maximal = {}
        for module in everything:
            if id(module) in self._owner_of_module and id(module) not in children:
                self._maximal.setdefault(self._owner_of_module[id(module)], []).append(module)
        for key, owner in self._forced.items():
            self._owner_of_module[key] = owner

    def force(self, module: nn.Module, owner: Owner) -> None:
        """Say that `module` and all it contains belong to `owner`, whatever the optimizers hold."""
        for sub in module.modules():
            self._forced[id(sub)] = owner
            self._owner_of_module[id(sub)] = owner
        known = self._maximal.setdefault(owner, [])
        if not any(module is other for other in known):
            known.append(module)

    def owner(self, module: nn.Module) -> Owner | None:
        """The owner of a unit; None for modules that are none."""
        return self._owner_of_module.get(id(module))

    def owners(self) -> list[Owner]:
        """All owners that have units, in the order in which their first optimizer was made."""
        order = {key: i for i, key in enumerate(self._optimizers)}
        return sorted(self._maximal, key=lambda owner: min((order.get(key, -1) for key in owner), default=-1))

    def maximal(self, owner: Owner) -> list[nn.Module]:
        """The outermost units of an owner."""
        return self._maximal.get(owner, [])

    def classes(self) -> set[type[nn.Module]]:
        """The classes whose `forward` must be watched for every call of a unit to be seen.

        The maximal units' classes and, below them, the user's own classes and Sequential: scripts call
        `G.mapping` and `G.synthesis` without ever calling G. Layers of torch.nn are left alone, as a call of
        a bare layer from outside its network is not found in real loops and each watched class costs time.
        """
        found: set[type[nn.Module]] = set()
        for roots in self._maximal.values():
            for root in roots:
                found.add(type(root))
                for sub in root.modules():
                    if isinstance(sub, nn.Sequential) or not type(sub).__module__.startswith("torch."):
                        found.add(type(sub))
        return found


def live_modules() -> Iterator[nn.Module]:
    """All modules alive in this process.

    By the type's own method resolution order, not by isinstance: lazy proxies answer isinstance by loading
    what they stand for, and looking must not change anything.
    """
    is_module: dict[type, bool] = {}
    for thing in gc.get_objects():
        kind = type(thing)
        known = is_module.get(kind)
        if known is None:
            known = is_module[kind] = nn.Module in kind.__mro__
        if known and "_parameters" in thing.__dict__:
            yield thing


def names_in_main(module: nn.Module) -> list[str]:
    """The global names under which the user's script knows a module, such as `netG`."""
    main = sys.modules.get("__main__")
    return [name for name, value in list(vars(main).items()) if value is module] if main is not None else []
