"""What the techniques share that penalise weights."""

from __future__ import annotations

from torch import nn

from gandiag.errors import UsageError


def weights_of(nets: list[nn.Module]) -> list[nn.Parameter]:
    """The trained parameters with two axes or more, each once.

    Biases and the gains of normalisation layers are left out: how large they are says nothing of how steep a net is.
    """
    return list(dict.fromkeys(p for net in nets for p in net.parameters() if p.requires_grad and p.ndim >= 2))


def check_strengths(name: str, *, d: float, g: float) -> None:
    """Raise UsageError unless both are finite, none is negative and one is above zero."""
    for key, value in (("d", d), ("g", g)):
        if not 0 <= value < float("inf"):
            raise UsageError(f"technique {name!r}: {key} must be above zero, or 0 to leave that net alone, got {value}")
    if d == g == 0:
        raise UsageError(f"technique {name!r}: d=0 and g=0 penalise nothing; give a strength for one of them")
