"""The opt-in taint pass: follows what G made through every tensor operation of the first rounds.

Where an augmentation without autograd stands between G and D, nothing at D's input says where it came from. The
taint pass sees each operation, and so knows: for the first rounds every storage has a level, from pure noise to
"made by G", and what an operation makes gets its level from what went in. It says *fake* of what G made, by rows, and
*clean* of what no net has touched. Of everything else it says nothing: mixtures of both, what went through a net that
nobody trains (an average of G makes fakes too), and once values of G have left torch for numpy, whatever came from
outside. The optimizers, backward passes and the nets' own insides are not followed: taint would leak through weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from gandiag.loop.calls import Trace
from gandiag.loop.levels import CLEAN, FAKE, MIXED, NET, OUTSIDE, WRITING, Level, level_of_result, tensors

if TYPE_CHECKING:
    from gandiag.loop.calls import Call

#: Rounds that are followed.
ROUNDS = 5
#: The ways by which a tensor's values leave torch.
_DOORS = ("numpy", "__array__", "tolist", "__dlpack__", "__reduce_ex__")
_PRUNE = 512


class Taint(TorchDispatchMode):
    """The level of every storage that the first rounds of a loop have made. Off until `start`.

    Never waits for a device: where levels differ from row to row and an index on a GPU says which, it gives up.

    Args:
        state: 0 to follow an operation, 1 inside nets and backward passes, 2 to look away.
        failed: told why, if it has to end early.

    Attributes:
        on: whether it follows.
        left: whether values of a net have left torch.
    """

    def __init__(self, state: Callable[[], int], failed: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.on = False
        self.left = False
        self._state = state
        self._failed = failed
        self._entered = False
        self._storages: dict[int, tuple[Any, Level, Call | None]] = {}
        self._weights: dict[int, Any] = {}
        self._undo: list[Callable[[], None]] = []

    def start(self) -> None:
        """Follow from now on, unless another mode of torch is at work, which would end before this one."""
        if _get_current_dispatch_mode() is not None:
            self._failed("the taint pass was left out: another dispatch mode of torch is on")
            return
        self.on = self._entered = True
        for name in _DOORS:
            self._watch_door(name)
        self.__enter__()  # type: ignore[no-untyped-call]

    def stop(self) -> bool:
        """Follow no more; False where the script's own mode lies on top, and it takes a later call to leave."""
        self.on = False
        self._storages.clear()
        self._weights.clear()
        while self._undo:
            self._undo.pop()()
        if self._entered and _get_current_dispatch_mode() is self:
            self._entered = False
            self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        return not self._entered

    # -- what is asked --------------------------------------------------------------------------------------

    def seed(self, x: Tensor, call: Call, *, made_by_g: bool) -> None:
        """Note the output of a unit: of a generator (or of who may be one), or of a discriminator."""
        if self.on and type(x) is Tensor:
            self._set(x, FAKE if made_by_g else NET, call)

    def weights(self, optimizer: torch.optim.Optimizer) -> None:
        """Note what is trained: also where it is no `Parameter`, it makes nets' outputs of what it works on."""
        for group in optimizer.param_groups if self.on else ():
            for x in group["params"]:
                self._note_weight(x)

    def trace(self, x: Tensor) -> Trace | None:
        """Whether `x` was made by G, in whole or in some rows; None if not, or if it cannot be told."""
        entry = self._storages.get(x.untyped_storage()._cdata) if self.on and x.ndim > 1 and x.numel() else None
        if entry is None or entry[2] is None:
            return None
        level, maker = self._level(x), entry[2]
        if isinstance(level, int):
            return Trace(maker, by_taint=True) if level == FAKE else None
        low, high = level.flatten(1).amin(1), level.flatten(1).amax(1)
        fake = low == FAKE
        if bool((high[~fake] > OUTSIDE).any()) or bool((high == MIXED).any()) or not bool(fake.any()):
            return None
        return Trace(maker, None if bool(fake.all()) else fake, by_taint=True)

    def clean(self, x: Tensor) -> bool:
        """Whether nothing of any net is in `x`, for sure."""
        if not self.on or not x.numel():
            return False
        level = self._level(x)
        highest = level if isinstance(level, int) else int(level.max())
        return highest <= CLEAN or (highest == OUTSIDE and not self.left)

    # -- following ------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation as it is, then note what it made."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self.on and (state := self._state()) < 2:
            try:
                self._follow(func, args, kwargs, result, inside=state == 1)
            except Exception as error:
                self.on = False
                self._failed(f"the taint pass ended early, at {func}: {type(error).__name__}: {error}")
        return result

    def _follow(self, func: Any, args: Any, kwargs: Any, result: Any, *, inside: bool) -> None:
        name = func._schema.name.removeprefix("aten::")
        operands = tensors((args, kwargs))
        known = {x.untyped_storage()._cdata for x in operands}
        made = [x for x in tensors(result) if x.untyped_storage()._cdata not in known]
        for x in operands:
            if isinstance(x, nn.Parameter):
                self._note_weight(x)
        written = _written(func, args, kwargs) if func._schema.is_mutable else []
        if inside:
            kept = [x for x in written if self._level(x) != FAKE]  # ReLU(inplace=True) leaves a fake what it is
            for x in made + kept:
                self._set(x, NET)
            return
        if name == "_local_scalar_dense" and self._level(operands[0]) == FAKE and not _reads_for_us():
            x = operands[0]  # of a sample, unless it is a number of its own: a mean that is printed
            self.left = self.left or x.untyped_storage().nbytes() > x.element_size()
        if not (made or written):
            return
        if name.startswith(("_foreach", "_fused")):  # optimizers work so, and averages of weights
            for x in made + written:
                self._set(x, MIXED)
            return
        if written and name.endswith("_") and name not in WRITING:
            name = name[:-1]
        elif name in WRITING or written:
            operands = [x for x in operands if not any(x is y for y in written)]
        if name.startswith(("empty", "new_empty")):
            for x in made:
                self._set(x, MIXED)  # whoever fills it may be no operation of torch's: an extension, numpy
            return
        if name == "index_put":  # not the indices
            operands = [operands[0], operands[-1]]
        levels = [self._level(operand) for operand in operands]
        maker = next((found for o in reversed(operands) if (found := self._maker(o)) is not None), None)
        for x in made + written:
            self._set(x, level_of_result(func, name, args, operands, levels, x), maker)

    # -- storages -------------------------------------------------------------------------------------------

    def _note_weight(self, x: Tensor) -> None:
        storage = x.untyped_storage()
        if storage._cdata not in self._weights:
            self._weights[storage._cdata] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]

    def _maker(self, x: Tensor) -> Call | None:
        entry = self._storages.get(x.untyped_storage()._cdata)
        return entry[2] if entry is not None else None

    def _level(self, x: Tensor) -> Level:
        storage = x.untyped_storage()
        if storage._cdata in self._weights:
            return NET
        entry = self._storages.get(storage._cdata)
        if entry is None:
            return OUTSIDE
        flat = entry[1]
        if isinstance(flat, int):
            return flat
        if flat.numel() * x.element_size() != storage.nbytes():  # seen as another type
            return MIXED
        view = flat.as_strided(x.shape, x.stride(), x.storage_offset())
        return view if x.numel() == 0 or view.min() != view.max() else int(view.max())

    def _set(self, x: Tensor, level: Level, maker: Call | None = None) -> None:
        storage = x.untyped_storage()
        key = storage._cdata
        if key in self._weights:
            return
        old = self._storages.get(key)
        whole = x.numel() * x.element_size() == storage.nbytes()
        if not (whole and isinstance(level, int)):
            before: Level = old[1] if old is not None else OUTSIDE
            size = storage.nbytes() // x.element_size()
            if isinstance(before, Tensor) and before.numel() != size:
                before = MIXED
            flat = torch.full((size,), before, dtype=torch.uint8) if isinstance(before, int) else before
            view = flat.as_strided(x.shape, x.stride(), x.storage_offset())
            if isinstance(level, int):
                view.fill_(level)
            else:
                view.copy_(level.expand(x.shape))
            level = flat
            maker = maker or (old[2] if old is not None else None)
        if len(self._storages) % _PRUNE == _PRUNE - 1:
            self._storages = {k: entry for k, entry in self._storages.items() if not entry[0].expired()}
        self._storages[key] = (StorageWeakRef(storage), level, maker)  # type: ignore[no-untyped-call]

    def _watch_door(self, name: str) -> None:
        """Note when values of a net leave torch: they may come back as arrays, and nobody would know them."""
        own = name in vars(Tensor)
        plain = getattr(Tensor, name)

        def leave(x: Tensor, *args: Any, **kwargs: Any) -> Any:
            if self.on and not self.left and self._state() < 2 and not _reads_for_us():
                level = self._level(x)
                weights = x.untyped_storage()._cdata in self._weights  # a checkpoint
                self.left = x.numel() > 1 and not weights and (not isinstance(level, int) or level >= NET)
            return plain(x, *args, **kwargs)

        def restore() -> None:
            if vars(Tensor).get(name) is leave:
                if own:
                    setattr(Tensor, name, plain)
                else:
                    delattr(Tensor, name)

        setattr(Tensor, name, leave)
        self._undo.append(restore)


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The operands that an operation writes to."""
    found: list[Tensor] = []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found += tensors(args[place] if place < len(args) else kwargs.get(argument.name))
    return found


def _reads_for_us() -> bool:
    """Whether it is gandiag itself, by way of torch, that has called the caller: what it reads never comes back."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("torch", "numpy"):
        frame = frame.f_back
    name: str = frame.f_globals.get("__name__", "")
    return name.startswith("gandiag.") and not name.startswith("gandiag.loop.taint")
