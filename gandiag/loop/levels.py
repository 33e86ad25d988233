"""What a tensor is made of: its level, and how an operation's result gets one from what went in. See `taint`.

A level is one number for a whole tensor, or a tensor of them on the CPU, one for each element. Where a rule cannot
be sure, the answer is `MIXED`, which is taken for "nothing known".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

#: Where values come from, each outweighing those before: random numbers as drawn; made of constants and random
#: numbers; from outside torch, or from before; made by a net, G or not; made by G; a mixture of G's with others.
NOISE, CLEAN, OUTSIDE, NET, FAKE, MIXED = range(6)

Level = int | Tensor

#: Operations that overwrite, whatever was there.
WRITING = frozenset({"copy_", "zero_", "fill_", "normal_", "uniform_", "bernoulli_", "random_", "exponential_"})
_PRODUCTS = frozenset({"mm", "addmm", "bmm", "convolution"})
#: Operations in which one operand shapes or weighs the other and adds nothing of its own to it.
_SHAPING = _PRODUCTS | {"mul", "div", "grid_sampler_2d", "grid_sampler_3d"}
_SCALING = frozenset({"mul", "div", "neg", "clone", "_to_copy"})
#: Operations that move elements about; the values of their other tensors say only where to.
_MOVING = frozenset({"index", "index_select", "gather", "roll", "flip", "repeat", "constant_pad_nd"})
_COPYING = frozenset({"copy_", "clone", "_to_copy"})
#: Operations whose result has the shape of what went in, and its elements elsewhere.
_DISORDERING = frozenset({"sort", "cumsum", "cumprod", "_fft_c2c", "rot90"})


def level_of_result(func: Any, name: str, args: Any, operands: list[Tensor], levels: list[Level], x: Tensor) -> Level:
    """The level of what an operation has made.

    Args:
        func: the operation, an overload of torch's.
        name: its name, without the underscore of an operation in place.
        args: what it was called with.
        operands: the tensors among them whose values went into the result; not what it has overwritten.
        levels: theirs.
        x: the result.
    """
    if not operands or name.endswith("_like") or name.startswith("new_"):
        return NOISE if torch.Tag.nondeterministic_seeded in func.tags else CLEAN
    if name in ("cat", "stack"):
        return _joined(operands, levels, args[1] if len(args) > 1 else 0, name)
    if name == "where" and len(levels) == 3:
        return _chosen(operands, levels)
    if name in _MOVING or name in _COPYING:
        operands, levels = operands[:1], levels[:1]
    if not any(isinstance(level, Tensor) for level in levels):
        return _uniform(name, operands, [int(level) for level in levels], x)
    if name in _COPYING:
        return levels[0]
    if name in _MOVING:
        return _moved(func, name, args, levels[0])
    return MIXED if name in _DISORDERING else _by_element(name, operands, levels, x)


def same(levels: Sequence[Level]) -> bool:
    """Whether all are one number."""
    return all(isinstance(level, int) and level == levels[0] for level in levels)


def _uniform(name: str, operands: list[Tensor], levels: list[int], x: Tensor) -> int:
    highest = max(levels)
    if highest == NOISE and (name not in _SCALING | _COPYING or sum(o.numel() > 1 for o in operands) > 1):
        return CLEAN
    if highest == FAKE and len(operands) > 1:
        samples = [(o, level) for o, level in zip(operands, levels, strict=True) if o.dtype is not torch.bool]
        whole = [level for o, level in samples if o.numel() >= x.numel()]
        # An average of fakes, subtracted from samples, makes no fakes of them; nor does their spread as a factor.
        if any(NOISE < level < FAKE for level in whole) and (name not in _SHAPING or FAKE not in whole):
            return MIXED
    return highest


def _joined(parts: list[Tensor], levels: list[Level], dim: int, name: str) -> Level:
    if same(levels):
        return levels[0]
    if dim not in (0, -parts[0].ndim - (name == "stack")):  # a condition beside each sample
        return max(int(level) for level in levels) if all(isinstance(level, int) for level in levels) else MIXED
    shades = [_spread(level, part) for level, part in zip(levels, parts, strict=True)]
    return torch.cat(shades) if name == "cat" else torch.stack(shades)


def _chosen(operands: list[Tensor], levels: list[Level]) -> Level:
    if same(levels[1:]):
        return levels[1]
    if operands[0].device.type != "cpu":  # to look would wait for the device
        return MIXED
    yes, no = (_spread(level, operand) for level, operand in zip(levels[1:], operands[1:], strict=True))
    return torch.where(operands[0], yes, no)


def _moved(func: Any, name: str, args: Any, level: Level) -> Level:
    rest = args[1:2] if name == "constant_pad_nd" else args[1:]
    if any(place.device.type != "cpu" for place in tensors(rest)):
        return MIXED
    moved: Tensor = func(level, *rest)
    return moved


def _by_element(name: str, operands: list[Tensor], levels: list[Level], x: Tensor) -> Level:
    """Element by element where shapes allow, else row by row."""
    highest = torch.zeros(x.shape, dtype=torch.uint8)
    mixed = torch.zeros(x.shape, dtype=torch.bool)
    for operand, level in zip(operands, levels, strict=True):
        if name not in _PRODUCTS and _broadcasts(operand.shape, x.shape):
            shade = _spread(level, operand).expand(x.shape)
        elif isinstance(level, int):
            shade = torch.full(x.shape, NET if level == NET else NOISE, dtype=torch.uint8)
        elif operand is operands[name == "addmm"] and x.ndim and len(level) == len(x):
            rows = level.reshape(len(level), -1)
            row = torch.where(rows.amin(1) == rows.amax(1), rows.amax(1), MIXED).to(torch.uint8)
            shade = row.view(-1, *[1] * (x.ndim - 1)).expand(x.shape)
        else:
            return MIXED
        if name not in _SHAPING and operand.numel() >= x.numel() and operand.dtype is not torch.bool:
            mixed |= (shade > NOISE) & (shade < FAKE) & (highest == FAKE)
            mixed |= (shade == FAKE) & (highest > NOISE) & (highest < FAKE)
        highest = torch.maximum(highest, shade)
    return highest.masked_fill(mixed, MIXED)


def _broadcasts(small: torch.Size, large: torch.Size) -> bool:
    return len(small) <= len(large) and all(a in (1, b) for a, b in zip(reversed(small), reversed(large), strict=False))


def _spread(level: Level, x: Tensor) -> Tensor:
    return torch.full(x.shape, level, dtype=torch.uint8) if isinstance(level, int) else level


def tensors(value: Any) -> list[Tensor]:
    """All tensors with a storage of their own in nested arguments or results."""
    if isinstance(value, Tensor):
        return [value] if value.layout is torch.strided else []
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [x for item in value for x in tensors(item)]
    return []
