"""What a probe is."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from gandiag.loop import Call, Observer, Step
from gandiag.registry import Registry

#: Where the real and the fake rows stand, by mask: in most loops the same mask comes back in each round.
_PLACES: MutableMapping[Tensor, tuple[Tensor, Tensor]] = WeakTensorKeyDictionary()


class Row:
    """What was measured in one iteration. Tensors stay on their device and are not read until the flush.

    Attributes:
        iteration: from 1.
        time: seconds since recording began.
        scalars: column -> a number or a 0-dim tensor.
        vectors: (column, column, ...) -> a tensor of that many numbers, or a list of as many 0-dim tensors. Where
            there is one column more than numbers, it gets the root of the sum of their squares.
        batches: prefix -> a tensor, such as a batch of logits, that the flush reduces to columns
            `prefix/...` together with those of the other rows; see `Probe.reduce`. With it its `_version`: kept by
            reference, it is left out if the script has written over it since.
    """

    __slots__ = ("batches", "iteration", "scalars", "time", "vectors")

    def __init__(
        self,
        iteration: int = 0,
        time: float = 0.0,
        scalars: dict[str, Tensor | float] | None = None,
        vectors: dict[tuple[str, ...], Tensor | list[Tensor]] | None = None,
        batches: dict[str, tuple[Tensor, int]] | None = None,
    ) -> None:
        self.iteration = iteration
        self.time = time
        self.scalars: dict[str, Tensor | float] = {} if scalars is None else scalars
        self.vectors: dict[tuple[str, ...], Tensor | list[Tensor]] = {} if vectors is None else vectors
        self.batches: dict[str, tuple[Tensor, int]] = {} if batches is None else batches


def now_and_then(iteration: int) -> bool:
    """Whether what costs more is measured now: each 10th iteration up to 200, each 100th up to 2,000, each 200th."""
    return iteration % (10 if iteration <= 200 else 100 if iteration <= 2000 else 200) == 1


def split_rows(x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """The real and the fake rows of a batch that holds both: `x[~fake]` and `x[fake]`, without waiting for a GPU.

    How many rows a mask picks is known only once it has been read. Each mask is read once; that waits for a GPU only
    if the mask lies on it.

    Args:
        x: shape (n, ...).
        fake: bool (n,), on any device; not to be changed any more.

    Returns:
        (real, fake), copies.
    """
    places = _PLACES.get(fake)
    if places is None or places[0].device != x.device:
        places = _PLACES[fake] = _moved((~fake).nonzero().flatten(), x), _moved(fake.nonzero().flatten(), x)
    return x[places[0]], x[places[1]]


def _moved(places: Tensor, x: Tensor) -> Tensor:
    """To where `x` lies. A copy to the host must wait: it would be read before it is there."""
    return places.to(x.device, non_blocking=x.device.type != "cpu")


def together(numbers: list[Tensor]) -> list[Tensor]:
    """Tensors of several devices on one of them, without waiting: on the first that is not the host."""
    devices = {x.device: None for x in numbers}
    if len(devices) < 2:
        return numbers
    home = next(device for device in devices if device.type != "cpu")
    return [x.to(home, non_blocking=True) for x in numbers]


class Probe:
    """Base of all probes. Every method is optional. All but `after_step` run without autograd.

    Attributes:
        name: as in the registry, the docs and the event that says a probe has failed.
    """

    name: str = ""

    def wants_features(self, iteration: int) -> bool:
        """Whether D's penultimate features are wanted in the coming iteration."""
        return False

    def call_ended(self, call: Call, role: str, features: Tensor | None, row: Row) -> None:
        """A network has been called; `features` is D's penultimate layer if it was wanted, shape (n, f)."""

    def before_step(self, step: Step, row: Row, observer: Observer) -> None:
        """An optimizer is about to step."""

    def clipped(self, role: str, norm: Tensor, row: Row) -> None:
        """The script has clipped the gradients of a role; `norm` is the total before, 0-dim."""

    def after_step(self, step: Step, row: Row, observer: Observer) -> None:
        """It has stepped."""

    def reduce(self, prefix: str, batch: Tensor) -> dict[str, Tensor]:
        """Columns of a stack of one batch an iteration, shape (t, n), each of shape (t,)."""
        return {}

    def derive(self, columns: dict[str, np.ndarray]) -> None:
        """Add columns that follow from others, each of shape (t,)."""


PROBES: Registry[type[Probe]] = Registry("probe", "gandiag.probes")
P = TypeVar("P", bound=type[Probe])


def probe(name: str) -> Callable[[P], P]:
    """Register a probe under `name`."""

    def decorate(cls: P) -> P:
        cls.name = name
        PROBES.add(name, cls, home=cls.__module__)
        return cls

    return decorate


class Names:
    """The named parameters of each optimizer, walked once: walking the modules costs more than a small step."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, str, list[tuple[str, torch.nn.Parameter]]]] = {}

    def of(self, step: Step, observer: Observer) -> list[tuple[str, torch.nn.Parameter]]:
        """What the optimizer may move, under stable names."""
        key, version = id(step.optimizer), observer.units.version
        known = self._known.get(key)
        if known is None or known[0] != version or known[1] != step.role:
            # Nets that are no longer trained must not be kept alive, and their optimizers do not come back.
            self._known = {other: found for other, found in self._known.items() if found[0] == version}
            known = self._known[key] = (version, step.role, _walk(step, observer))
        return known[2]


def _walk(step: Step, observer: Observer) -> list[tuple[str, torch.nn.Parameter]]:
    mine = {id(p) for group in step.optimizer.param_groups for p in group["params"]}
    roles = ("g", "d") if step.role == "both" else (step.role,)
    found = []
    for role in roles:
        nets = observer.nets(role)
        for i, net in enumerate(nets):
            prefix = f"{role}/{i}." if len(nets) > 1 else f"{role}/"
            found += [(prefix + n, p) for n, p in net.named_parameters() if id(p) in mine]
    return found
