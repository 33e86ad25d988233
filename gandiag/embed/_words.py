"""How the notes and errors of embedders speak of shapes and ranges."""

from __future__ import annotations

from gandiag.embed.base import Shape


def times(shape: Shape) -> str:
    """`(3, 64, 64)` as "3 x 64 x 64"; a single number is "1"."""
    return " x ".join(str(size) for size in shape) or "1"


def cut_off(sides: Shape, factor: int) -> str:
    """What pooling by a factor leaves out of sides that it does not divide; "" for nothing."""
    lost = max(size % factor for size in sides)
    return f"; up to {lost} at the far end of a side were left out" if lost else ""


def channels_last(shape: Shape) -> str:
    """A hint for samples that look like images with their channels behind; "" for all others."""
    if len(shape) == 3 and shape[2] in (1, 3, 4) and min(shape[:2]) > 4:
        return "; the channels seem to come last: give x.movedim(-1, 1)"
    return ""
