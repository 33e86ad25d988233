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

from gandiag.loop.calls import Trace, leaves

if TYPE_CHECKING:
    from gandiag.loop.calls import Call

#: How many outputs are remembered: replay pools of the published CycleGAN loops hold 50 images.
MEMORY = 64
#: How many autograd nodes a walk visits at most: augmentation chains are tens of nodes long.
WALK = 256
_TAG = "gandiag"


class Provenance:
    """Remembers what units put out, and answers where an input came from."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._storages: dict[int, tuple[Any, Call]] = {}
        self._order: deque[int] = deque()
        self._memory = memory
        self._prints: deque[tuple[tuple[int, ...], Tensor, Call]] = deque(maxlen=8)

    def remember(self, output: Any, call: Call) -> None:
        """Note every floating tensor of `output` as made by `call`."""
        for leaf in leaves(output):
            storage = leaf.untyped_storage()
            key = storage._cdata
            if key not in self._storages:
                self._order.append(key)
            self._storages[key] = (StorageWeakRef(storage), call)  # type: ignore[no-untyped-call]
            if leaf.grad_fn is not None:
                leaf.grad_fn.metadata[_TAG] = call  # type: ignore[index]
            if leaf.ndim >= 2:
                self._prints.append((tuple(leaf.shape[1:]), leaf.detach(), call))
        while len(self._order) > self._memory:
            self._storages.pop(self._order.popleft(), None)

    def trace(self, x: Tensor, *, rows: bool) -> Trace | None:
        """Where `x` came from, or None if nothing says so.

        Args:
            x: any tensor.
            rows: also compare rows by value. This reads values, a synchronisation on a GPU: ask for it
                only where nothing else answered.
        """
        call = self._by_storage(x)
        if call is None and x.grad_fn is not None:
            call = self._by_ancestry(x)
        if call is not None:
            return Trace(call)
        return self._by_rows(x) if rows else None

    def _by_storage(self, x: Tensor) -> Call | None:
        entry = self._storages.get(x.untyped_storage()._cdata)
        return entry[1] if entry is not None and not entry[0].expired() else None

    def _by_ancestry(self, x: Tensor) -> Call | None:
        nodes: deque[Any] = deque([x.grad_fn])
        seen: set[Any] = set()
        while nodes and len(seen) < WALK:
            node = nodes.popleft()
            if node is None or node in seen:
                continue
            seen.add(node)
            call: Call | None = node.metadata.get(_TAG)
            if call is not None:
                return call
            leaf = getattr(node, "variable", None)
            if leaf is not None and (call := self._by_storage(leaf)) is not None:
                return call
            nodes.extend(parent for parent, _ in node.next_functions)
        return None

    def _by_rows(self, x: Tensor) -> Trace | None:
        """Rows of `x` that equal rows of a remembered output: cat(real, fake), copies, replay pools."""
        if x.ndim < 2:
            return None
        found: Tensor | None = None
        maker: Call | None = None
        with torch.no_grad():
            flat = _fingerprint(x.detach())
            for shape, output, call in reversed(self._prints):
                if shape != tuple(x.shape[1:]) or output.device != x.device:
                    continue
                same = torch.isin(flat, _fingerprint(output))
                if bool(same.any()):
                    found = same if found is None else found | same
                    maker = maker or call
                    if bool(found.all()):
                        break
        if found is None or maker is None:
            return None
        return Trace(maker, None if bool(found.all()) else found, by_rows=True)


def _fingerprint(x: Tensor) -> Tensor:
    """One float64 number for each row, equal for equal rows and for no others in practice, shape (n,)."""
    flat = x.flatten(1).to(torch.float64)
    weights = torch.arange(1, flat.shape[1] + 1, device=x.device, dtype=torch.float64)
    return (flat * torch.sin(weights * 12.9898)).sum(dim=1)
