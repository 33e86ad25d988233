"""Tracing a tensor back to the network that made it.

Four kinds of evidence, strongest first: the same storage (identity, views, `detach()` and `.data` share
one), autograd ancestry, a leaf that shares the storage, and equal rows. A weak reference to the *storage*
is kept, not a pointer: a freed pointer is handed out again at once, and "equal address" would then call
the next real batch a fake, while the weak reference keeps the address from being reused.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from gandiag.loop.calls import Trace

if TYPE_CHECKING:
    from gandiag.loop.calls import Call
    from gandiag.loop.units import Owner

#: How many outputs are remembered by their storage.
MEMORY = 64
#: How many rows are remembered by value. Replay pools of the published CycleGAN loops hold 50 images, each
#: of which is replaced with probability 1/100 by the next one: after 8,192 of them none of them is left.
ROWS = 8192
#: How many autograd nodes a walk visits at most: augmentation chains are tens of nodes long.
WALK = 512
_TAG = "gandiag"
_BITS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}


class Provenance:
    """Remembers what units put out, and answers where an input came from.

    Attributes:
        by_value: whether rows of outputs are remembered and looked up by value too. Reading them would
            synchronise on a GPU, so that there it is never done.
    """

    def __init__(self) -> None:
        self.by_value = False
        self._storages: dict[int, tuple[Any, Call]] = {}
        self._order: deque[int] = deque()
        self._rows: dict[int, Call] = {}
        self._row_order: deque[int] = deque()
        self._makers: dict[Owner, Call] = {}

    def remember(self, leaf: Tensor, call: Call) -> None:
        """Note a floating tensor of a unit's output as made by `call`."""
        storage = leaf.untyped_storage()
        key = storage._cdata
        if key not in self._storages:
            self._order.append(key)
            if len(self._order) > MEMORY:
                self._storages.pop(self._order.popleft(), None)
        self._storages[key] = (StorageWeakRef(storage), call)  # type: ignore[no-untyped-call]
        if leaf.grad_fn is not None:
            leaf.grad_fn.metadata[_TAG] = call  # type: ignore[index]
        if self.by_value and leaf.ndim >= 2 and leaf.device.type == "cpu":
            self._remember_rows(leaf, call)

    def look_at_rows(self, wanted: bool) -> None:
        """Begin to remember and look up rows by value, or stop and forget them."""
        self.by_value = wanted
        if not wanted and self._rows:
            self._rows.clear()
            self._row_order.clear()

    def trace(self, x: Tensor) -> Trace | None:
        """Where `x` came from, or None if nothing says so."""
        entry = self._storages.get(x.untyped_storage()._cdata)
        if entry is not None and not entry[0].expired():
            return Trace(entry[1])
        if x.grad_fn is not None:
            found = self._by_ancestry(x)
            if found is not None:
                return found
        if self.by_value and self._rows and x.ndim >= 2 and x.device.type == "cpu":
            return self._by_rows(x)
        return None

    def _by_storage(self, x: Tensor) -> Call | None:
        entry = self._storages.get(x.untyped_storage()._cdata)
        return entry[1] if entry is not None and not entry[0].expired() else None

    def _by_ancestry(self, x: Tensor) -> Trace | None:
        nodes: deque[Any] = deque([x.grad_fn])
        seen: set[Any] = set()
        joins: list[Any] = []
        while nodes and len(seen) < WALK:
            node = nodes.popleft()
            if node is None or node in seen:
                continue
            seen.add(node)
            call: Call | None = node.metadata.get(_TAG)
            if call is None and (leaf := getattr(node, "variable", None)) is not None:
                call = self._by_storage(leaf)
            if call is not None:
                return Trace(call, self._joined_rows(x, call, joins))
            # `cat` along the batch: the rows of G are those of the branch that leads to it.
            if getattr(node, "_saved_dim", None) == 0 and type(node).__name__ == "CatBackward0":
                joins.append(node)
            nodes.extend(parent for parent, _ in node.next_functions)
        return None

    def _joined_rows(self, x: Tensor, call: Call, joins: list[Any]) -> Tensor | None:
        """Which rows of `x` are G's, where `cat` along the batch joined them to rows that are not; else None."""
        if not joins or call.output is None or x.ndim < 1:
            return None
        branches = [parent for parent, _ in joins[0].next_functions]
        ours = [parent is not None and self._leads_home(parent) for parent in branches]
        rows, made = len(x), len(call.output)
        if all(ours) or len(ours) != 2 or made >= rows:
            return None
        mask = torch.zeros(rows, dtype=torch.bool, device=x.device)
        if ours[0]:
            mask[:made] = True
        else:
            mask[rows - made :] = True
        return mask

    def _leads_home(self, start: Any) -> bool:
        nodes: deque[Any] = deque([start])
        seen: set[Any] = set()
        while nodes and len(seen) < WALK:
            node = nodes.popleft()
            if node is None or node in seen:
                continue
            seen.add(node)
            leaf = getattr(node, "variable", None)
            if node.metadata.get(_TAG) is not None or (leaf is not None and self._by_storage(leaf) is not None):
                return True
            nodes.extend(parent for parent, _ in node.next_functions)
        return False

    def _remember_rows(self, leaf: Tensor, call: Call) -> None:
        # Not the call itself: thousands of rows would keep hundreds of calls and their tensors alive.
        maker = self._makers.get(call.owner)
        if maker is None:
            maker = self._makers[call.owner] = type(call)(call.unit, call.owner, (), {}, False)
        for key in fingerprints(leaf):
            if key not in self._rows:
                self._row_order.append(key)
            self._rows[key] = maker
        while len(self._row_order) > ROWS:
            self._rows.pop(self._row_order.popleft(), None)

    def _by_rows(self, x: Tensor) -> Trace | None:
        """Rows of `x` that equal rows of a remembered output: cat(real, fake), copies, replay pools."""
        makers = [self._rows.get(key) for key in fingerprints(x)]
        maker = next((call for call in reversed(makers) if call is not None), None)
        if maker is None:
            return None
        found = [call is not None for call in makers]
        return Trace(maker, None if all(found) else torch.tensor(found, device=x.device), by_rows=True)


def fingerprints(x: Tensor) -> list[int]:
    """One number for each row, equal for equal rows and for no others in practice.

    A sum over the bits, read as integers: unlike a sum of floats it is the same in whatever order torch adds,
    which differs between the layouts of a tensor and of its copy in a larger batch.

    Args:
        x: floating, shape (n, ...).
    """
    with torch.no_grad():
        flat = x.detach().flatten(1).contiguous()
        if flat.element_size() < 4:  # what autocast makes is often widened before D sees it, which is exact
            flat = flat.float()
        bits = flat.view(_BITS[flat.element_size()]).to(torch.int64)
        place = torch.arange(1, bits.shape[1] + 1, dtype=torch.int64)
        mixed = (bits + 1) * (place * 0x9E3779B97F4A7C1 + 0x2545F4914F6CDD1D)
        found: list[int] = (mixed ^ (mixed >> 29)).sum(dim=1).tolist()
    return found
