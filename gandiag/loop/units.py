"""Which modules are networks: units, found by the optimizers that own their parameters."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterable, Iterator
from itertools import compress

import torch
from torch import nn

Owner = frozenset[int]


class Units:
    """Every live module whose optimised parameters all have one owner.

    An owner is the set of optimizers that hold a parameter, as a frozenset of their numbers: a parameter that a
    second optimizer holds too (InfoGAN's third one) has an owner of its own. Numbers and not ids, which torch's next
    optimizer gets as soon as one is gone. Modules without optimised
    parameters (losses, EMA copies, Inception) are not units.
    """

    def __init__(self) -> None:
        self._optimizers: dict[int, weakref.ref[torch.optim.Optimizer]] = {}  # by id
        self._numbers: dict[int, int] = {}  # by id
        self._count = 0
        self._owner_of_module: dict[int, Owner] = {}
        self._maximal: dict[Owner, list[nn.Module]] = {}
        self._forced: dict[int, Owner] = {}
        self._forced_roots: dict[Owner, list[nn.Module]] = {}
        self._wrappers: dict[Owner, list[nn.Module]] = {}
        self._opened: set[int] = set()
        self._some_parameter: dict[int, weakref.ref[nn.Parameter]] = {}  # of a unit: one that took gradients
        self._wants_split = False
        self.is_split = False  # one optimizer holds all nets, and each has been given an owner of its own
        self.stale = False  # an optimizer is gone, and with it perhaps its nets
        self.version = 0  # counts how often the table was rebuilt

    def add_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Take note of an optimizer; call `scan` afterwards."""
        key = id(optimizer)

        def gone(_: object) -> None:
            self._optimizers.pop(key, None)
            self._numbers.pop(key, None)
            self.stale = True

        if key not in self._optimizers:
            self._optimizers[key] = weakref.ref(optimizer, gone)
            self._numbers[key] = self._count
            self._count += 1

    def knows(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether `add_optimizer` has seen it."""
        return id(optimizer) in self._optimizers

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """All optimizers seen, in the order in which they were made."""
        return [optimizer for ref in self._optimizers.values() if (optimizer := ref()) is not None]

    def scan(self, modules: Iterable[nn.Module] | None = None) -> None:
        """Rebuild the table from all live modules, or from the given roots and what they contain."""
        self._some_parameter.clear()
        self.stale = False
        held: dict[int, set[int]] = {}
        for optimizer in self.optimizers():
            key = self._numbers[id(optimizer)]
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    held.setdefault(id(parameter), set()).add(key)
        everything = list(live_modules()) if modules is None else [m for root in modules for m in root.modules()]
        self._owner_of_module = {}
        children: set[int] = set()
        for module in everything:
            owners = {frozenset(held[id(p)]) for p in module.parameters() if id(p) in held}
            if len(owners) == 1 and id(module) not in self._opened:
                self._owner_of_module[id(module)] = owners.pop()
        for module in everything:
            if id(module) in self._owner_of_module:
                children.update(id(sub) for sub in module.modules() if sub is not module)
        self._maximal = {}
        for module in everything:
            if id(module) in self._owner_of_module and id(module) not in children:
                self._maximal.setdefault(self._owner_of_module[id(module)], []).append(module)
        self._split_up()
        self.apply_forced(everything)

    def open_up(self, module: nn.Module) -> None:
        """Say that a module is no net but what is around one: a loss that holds D."""
        self._opened.add(id(module))
        self._owner_of_module.pop(id(module), None)
        for owner, roots in self._maximal.items():
            if any(root is module for root in roots):
                held = [child for child in module.children() if self.owner(child) is not None]
                self._maximal[owner] = [root for root in roots if root is not module] + held
        self.version += 1

    def split(self) -> bool:
        """Give each net an owner of its own, where one optimizer holds all; False if there is nothing to split.

        Both nets in one optimizer is a loop like any other, but its parameters do not say which belong together.
        """
        if self._wants_split or self._forced or len(self._maximal) != 1:
            return False
        self._wants_split = True
        self.scan()
        return self.is_split

    def _split_up(self) -> None:
        self.is_split = False
        if not self._wants_split or len(self._maximal) != 1:
            return
        ((owner, roots),) = self._maximal.items()
        while len(roots) == 1:  # a wrapper that holds them all
            roots = [child for child in roots[0].children() if self._owner_of_module.get(id(child)) == owner]
            if not roots or any(not list(child.children()) for child in roots):
                return  # the layers of one net
        self.is_split = True
        self._maximal = {}
        for number, root in enumerate(roots):
            part = owner | {-1 - number}
            self._maximal[part] = [root]
            for sub in root.modules():
                if id(sub) in self._owner_of_module:
                    self._owner_of_module[id(sub)] = part
        self._owner_of_module = {key: found for key, found in self._owner_of_module.items() if found != owner}

    def force(self, module: nn.Module, owner: Owner) -> None:
        """Say that `module` and all it contains belong to `owner`, whatever the optimizers hold."""
        for sub in module.modules():
            self._forced[id(sub)] = owner
        roots = self._forced_roots.setdefault(owner, [])
        if not any(module is other for other in roots):
            roots.append(module)
        self.apply_forced([])

    def apply_forced(self, everything: Iterable[nn.Module]) -> None:
        """Put the forced owners in, also for those of `everything` that are wrapped around their nets, as DDP is."""
        self.version += 1
        if not self._forced:
            return
        of_parameter = {
            id(p): o for o, roots in self._forced_roots.items() for root in roots for p in root.parameters()
        }
        self._owner_of_module.update(self._forced)
        self._wrappers = {}
        for owner, roots in self._forced_roots.items():
            self._maximal[owner] = list(roots)
        for module in everything:
            if id(module) in self._forced or not any(id(sub) in self._forced for sub in module.modules()):
                continue
            owners = {of_parameter.get(id(p)) for p in module.parameters()}
            if len(owners) == 1 and (only := owners.pop()) is not None:
                self._owner_of_module[id(module)] = only
                self._wrappers.setdefault(only, []).append(module)

    def owner(self, module: nn.Module) -> Owner | None:
        """The owner of a unit; None for modules that are none."""
        return self._owner_of_module.get(id(module))

    def is_frozen(self, module: nn.Module) -> bool:
        """Whether no parameter of a unit takes gradients now. Looks at one first: the walk costs as much as a layer."""
        known = self._some_parameter.get(id(module))
        parameter = None if known is None else known()
        if parameter is not None and parameter.requires_grad:
            return False
        found = next((p for p in module.parameters() if p.requires_grad), None)
        if found is not None:
            self._some_parameter[id(module)] = weakref.ref(found)
        return found is None

    def owners(self) -> list[Owner]:
        """All owners that have units, in the order in which their first optimizer was made."""
        return sorted(self._maximal, key=lambda owner: (max(owner, default=-1), sorted(owner)))

    def maximal(self, owner: Owner) -> list[nn.Module]:
        """The outermost units of an owner."""
        return self._maximal.get(owner, [])

    def compiled(self) -> list[nn.Module]:
        """The units whose class's forward is not called: compiled in place, or with a forward on the instance."""
        roots = (root for found in self._maximal.values() for root in found)
        return [
            sub
            for root in roots
            for sub in root.modules()
            if sub._compiled_call_impl is not None
            or ("forward" in vars(sub) and type(sub).__name__ != "OptimizedModule")
        ]

    def classes(self) -> set[type[nn.Module]]:
        """The classes whose `forward` must be watched for every call of a unit to be seen.

        The maximal units' classes and, below them, the user's own classes and Sequential: scripts call
        `G.mapping` and `G.synthesis` without ever calling G. Layers of torch.nn are left alone, as a call of
        a bare layer from outside its network is not found in real loops and each watched class costs time.
        """
        found: set[type[nn.Module]] = set()
        for roots in (*self._maximal.values(), *self._wrappers.values()):
            for root in roots:
                found.add(type(root))
                for sub in root.modules():
                    if isinstance(sub, nn.Sequential) or not type(sub).__module__.startswith("torch."):
                        found.add(type(sub))
        return found


def live_modules() -> Iterator[nn.Module]:
    """All modules alive in this process.

    By the type itself, not by isinstance: lazy proxies answer isinstance by loading what they stand for, and looking
    must not change anything.
    """
    kinds: set[type] = {nn.Module}
    fresh: list[type] = [nn.Module]
    while fresh:
        below: list[type] = []
        for above in fresh:
            below += type.__subclasses__(above)
        fresh = [sub for sub in below if sub not in kinds]
        kinds.update(fresh)
    things = gc.get_objects()  # a few hundred thousand: no line of Python for each
    for thing in compress(things, list(map(kinds.__contains__, map(type, things)))):
        if "_parameters" in thing.__dict__:
            yield thing


def names_in_main(module: nn.Module) -> list[str]:
    """The global names under which the user's script knows a module, such as `netG`."""
    main = sys.modules.get("__main__")
    return [name for name, value in list(vars(main).items()) if value is module] if main is not None else []


def is_compiled(net: nn.Module) -> bool:
    """Whether `net` or a part of it runs through torch.compile, wrapped by it or in place by `net.compile()`."""
    return any(
        type(m).__name__ == "OptimizedModule"
        or (m._compiled_call_impl is not None and getattr(m._compiled_call_impl, "compiled", True))
        for m in net.modules()
    )
