"""Tracing a tensor back to the network that made it.

Four kinds of evidence, strongest first: the same storage (identity, views, `detach()` and `.data` share
one), autograd ancestry, a leaf that shares the storage, and equal rows. A weak reference to the *storage*
is kept, not a pointer: a freed pointer is handed out again at once, and "equal address" would then call
the next real batch a fake, while the weak reference keeps the address from being reused.
"""

from __future__ import annotations

import itertools
import re
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
#: Of how many of a round's the generator's call is kept with its tensors: enough for a round that may be followed.
WHOLE = 8
#: How many rows are remembered by value. Replay pools of the published CycleGAN loops hold 50 images, each
#: of which is replaced with probability 1/100 by the next one: after 8,192 of them none of them is left.
ROWS = 8192
#: How many autograd nodes a walk visits at most: augmentation chains are tens of nodes long.
WALK = 512
#: Share of the rows of an output that other inputs gave before, from which its values are discrete.
DISCRETE = 1 / 16
_TAG = "gandiag"
_BITS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}
#: Operations that leave rows where they are.
_KEEPS = re.compile(
    "(Abs|Add|Alias|AvgPool2D|Cat|Clamp|ClampMin|ClampMax|Clone|ConstantPadNd|Convolution|Div|Exp|GridSampler2D|LeakyRelu|"
    "Lerp|Mul|NativeDropout|Neg|Pow|ReflectionPad2D|Relu|ReshapeAlias|Sigmoid|Slice|Sqrt|Squeeze|Sub|Tanh|ToCopy|"
    r"UnsafeView|Unsqueeze|Upsample\w+|View|Where)Backward\d+"
)
#: Runs of rows, each with its length and whether G made them.
_Blocks = tuple[tuple[int, bool], ...]
#: How much of a tensor G made: all, nothing, some rows, or (None) some that nobody knows.
_Share = bool | _Blocks | None


class Provenance:
    """Remembers what units put out, and answers where an input came from.

    Attributes:
        by_value: whether rows of outputs are remembered and looked up by value too. Reading them would
            synchronise on a GPU, so that there it is never done.
    """

    def __init__(self) -> None:
        self.by_value = False
        self._storages: dict[int, tuple[Any, Call]] = {}
        self._whole: deque[int] = deque()  # storages whose call is kept with its tensors
        self._rows: dict[int, tuple[Call, int]] = {}  # with the fingerprint of what the unit was given for it
        self._row_order: deque[int] = deque()
        self._makers: dict[Owner, Call] = {}
        self._discrete: set[tuple[Owner, torch.Size]] = set()
        self._calls = itertools.count()

    def remember(self, leaf: Tensor, call: Call) -> None:
        """Note a floating tensor of a unit's output as made by `call`."""
        storage = leaf.untyped_storage()
        key = storage._cdata
        if key not in self._storages and len(self._storages) >= MEMORY:
            del self._storages[next(iter(self._storages))]
        self._storages[key] = (StorageWeakRef(storage), call)  # type: ignore[no-untyped-call]
        self._whole.append(key)
        if len(self._whole) > WHOLE:
            self._lighten(self._whole.popleft(), only_g=True)
        if leaf.grad_fn is not None:
            leaf.grad_fn.metadata[_TAG] = call  # type: ignore[index]
        if self.by_value and leaf.ndim >= 2 and leaf.device.type == "cpu":
            self._remember_rows(leaf, call)

    def look_at_rows(self, wanted: bool) -> None:
        """At the end of a round: begin to remember and look up rows by value, or stop and forget them."""
        self.by_value = wanted
        if not wanted:
            self._forget_rows()
        self._whole.clear()
        for key in list(self._storages):
            self._lighten(key)

    def forget(self) -> None:
        """Forget everything."""
        self._forget_rows()
        self._storages.clear()
        self._whole.clear()
        self._makers.clear()
        self._discrete.clear()

    def trace(self, x: Tensor) -> Trace | None:
        """Where `x` came from, or None if nothing says so."""
        call = self._by_storage(x)
        if call is not None:
            return Trace(call)
        if x.grad_fn is not None:
            found = self._by_ancestry(x)
            if found is not None:
                return found
        if self.by_value and self._rows and x.ndim >= 2 and x.device.type == "cpu":
            return self._by_rows(x)
        return None

    # -- storages -------------------------------------------------------------------------------------------

    def _by_storage(self, x: Tensor) -> Call | None:
        entry = self._storages.get(x.untyped_storage()._cdata)
        return entry[1] if entry is not None and not entry[0].expired() else None

    def _lighten(self, key: int, *, only_g: bool = False) -> None:
        """Keep of a call only whose it was: its own output would keep the storage alive, and its inputs others.

        A call of D is wanted with its inputs while it waits for a step, and is kept by the ledger anyway.
        """
        entry = self._storages.get(key)
        if entry is None or (only_g and not entry[1].of_g):
            return
        self._storages[key] = (entry[0], self._maker(entry[1]))
        if entry[0].expired():
            del self._storages[key]

    def _maker(self, call: Call) -> Call:
        known = self._makers.get(call.owner)
        if known is None:
            known = self._makers[call.owner] = type(call)(call.unit, call.owner, (), {}, False)
        return known

    # -- ancestry -------------------------------------------------------------------------------------------

    def _by_ancestry(self, x: Tensor) -> Trace | None:
        nodes: deque[Any] = deque([x.grad_fn])
        seen: set[Any] = set()
        joined = False
        while nodes and len(seen) < WALK:
            node = nodes.popleft()
            if node is None or node in seen:
                continue
            seen.add(node)
            call = self._made_at(node)
            if call is not None:
                share = not joined or self._share(x.grad_fn)
                if isinstance(share, bool):
                    return Trace(call) if share else None
                return Trace(call, _mask(share)) if share is not None else None
            joined = joined or _joins(node)
            nodes.extend(parent for parent, _ in node.next_functions)
        return None

    def _made_at(self, node: Any) -> Call | None:
        call: Call | None = node.metadata.get(_TAG)
        if call is None and (leaf := getattr(node, "variable", None)) is not None:
            call = self._by_storage(leaf)
        return call

    def _share(self, root: Any) -> _Share:
        """Which rows are G's where `cat` along the batch has joined them to others."""
        known: dict[Any, _Share] = {}
        nodes = [root]
        while nodes:
            if len(known) + len(nodes) > WALK:
                return None
            node = nodes[-1]
            parents = [parent for parent, _ in node.next_functions if parent is not None]
            if node in known:
                nodes.pop()
            elif self._made_at(node) is not None:
                known[node] = True
            elif unknown := [parent for parent in parents if parent not in known]:
                nodes += unknown
            else:
                known[node] = _combined(node, [p is not None and known[p] for p, _ in node.next_functions])
        return known[root]

    # -- rows -----------------------------------------------------------------------------------------------

    def _remember_rows(self, leaf: Tensor, call: Call) -> None:
        if (call.owner, leaf.shape[1:]) in self._discrete:
            return
        # Not the call itself: thousands of rows would keep hundreds of calls and their tensors alive.
        maker, keys, made = self._maker(call), fingerprints(leaf), dict[int, int]()
        given = _given(call, len(leaf)) or [next(self._calls)] * len(keys)
        same = []  # but not what a latent gives that is used twice
        for key, source in zip(keys, given, strict=True):
            earlier = self._rows.get(key)
            if made.setdefault(key, source) != source or (earlier and earlier[0] is maker and earlier[1] != source):
                same.append(key)
        if len(same) > DISCRETE * len(keys):
            # Equal rows are no proof then: data has them too. A net whose output is one constant may yet learn.
            if len(set(same)) > 1:
                self._discrete.add((call.owner, leaf.shape[1:]))
            self._forget_rows()
            return
        for key, source in zip(keys, given, strict=True):
            if key not in self._rows:
                self._row_order.append(key)
            self._rows[key] = (maker, source)
        while len(self._row_order) > ROWS:
            self._rows.pop(self._row_order.popleft(), None)

    def _forget_rows(self) -> None:
        self._rows.clear()
        self._row_order.clear()

    def _by_rows(self, x: Tensor) -> Trace | None:
        """Rows of `x` that equal rows of a remembered output: cat(real, fake), copies, replay pools."""
        entries = [self._rows.get(key) for key in fingerprints(x)]
        found = [entry is not None for entry in entries]
        maker = next((entry[0] for entry in reversed(entries) if entry is not None), None)
        if maker is None:
            return None
        return Trace(maker, None if all(found) else torch.tensor(found, device="cpu"), by_rows=True)


def _shape(node: Any, number: int = 0) -> torch.Size | None:
    """Of what the operation of a node has put out, by default first; None for what has no gradient."""
    known = getattr(node, "_input_metadata", ())  # of its backward operation, whose inputs they are
    return known[number].shape if number < len(known) else None


def _joins(node: Any) -> bool:
    """Whether it is `cat` or `stack` along the batch."""
    if not type(node).__name__.startswith(("CatBackward", "StackBackward")):
        return False
    return node._saved_dim in (0, 2**64 - len(_shape(node) or ()))  # -1 reads as 2**64 - 1


def _combined(node: Any, shares: list[_Share]) -> _Share:
    """How much of a node's output G made, by how much of its operands."""
    joins, shape, name = _joins(node), _shape(node), type(node).__name__
    if all(isinstance(share, bool) for share in shares) and (not joins or len(set(shares)) < 2):
        return any(shares)
    if not shape or not (joins or _KEEPS.fullmatch(name)):
        return None
    operands = [_shape(parent, number) for parent, number in node.next_functions]
    if joins:
        return _end_to_end(shape[0], shares, operands, stacks=name.startswith("Stack"))
    # What has been reduced over the batch moves no rows.
    same = operands[0] if len(operands) == 1 else shape
    aligned = {
        s for s, o in zip(shares, operands, strict=True) if o and same and (len(o), o[0]) == (len(same), shape[0])
    }
    aligned.discard(False)
    share = aligned.pop() if len(aligned) == 1 else None
    return share if isinstance(share, tuple) else None


def _end_to_end(rows: int, shares: list[_Share], shapes: list[torch.Size | None], *, stacks: bool) -> _Share:
    """Of `cat`, whose operands without a gradient have no size here either, but take what the others leave."""
    sizes = [1 if stacks else shape[0] if shape else 0 for shape in shapes]
    gaps = [at for at, shape in enumerate(shapes) if not (shape or stacks)]
    rest = rows - sum(sizes)
    if None in shares or rest < 0 or (gaps and gaps[-1] - gaps[0] >= len(gaps)):
        return None
    if gaps:
        sizes[gaps[0]] = rest
    parts = zip(sizes, shares, strict=True)
    blocks = [run for size, share in parts for run in (share if isinstance(share, tuple) else [(size, bool(share))])]
    return tuple(blocks) if sum(size for size, _ in blocks) == rows else None


def _mask(blocks: _Blocks) -> Tensor:
    """Which rows, bool (n,)."""
    return torch.tensor([ours for size, ours in blocks for _ in range(size)], device="cpu")


def _given(call: Call, rows: int) -> list[int] | None:
    """One number for each row of an output, by what the unit was given for it; None where nothing is, row by row."""
    whole = [x for x in call.args if isinstance(x, Tensor) and x.dtype in (torch.int32, torch.int64)]
    given = [x for x in (*call.inputs, *whole) if x.ndim and len(x) == rows and x.numel() and x.device.type == "cpu"]
    found = [fingerprints(x.reshape(rows, -1)) for x in given]
    return [hash(numbers) for numbers in zip(*found, strict=True)] or None


def fingerprints(x: Tensor) -> list[int]:
    """One number for each row, equal for equal rows and for no others in practice.

    A sum over the bits, read as integers: unlike a sum of floats it is the same in whatever order torch adds,
    which differs between the layouts of a tensor and of its copy in a larger batch.

    Args:
        x: not complex, shape (n, ...).
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
