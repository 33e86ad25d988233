"""The verb `embed`, the choice it makes when asked for "auto", and the registry of embedders."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from math import prod
from typing import cast

import torch
from torch import Tensor

from gandiag.errors import ShapeError, UnknownName, UsageError
from gandiag.registry import Registry

Embedder = Callable[[Tensor], Tensor]

EMBEDDERS: Registry[Embedder] = Registry("embedder", "gandiag.embed")

SMALL = 1024
"""Up to this many numbers a sample is its own best description: measured on 8x8 digits, pixels find the classes as
well as random convolutions do."""


def embed(x: Tensor, *, embedder: str = "auto") -> tuple[Tensor, str]:
    """Features of a batch of samples.

    Args:
        x: [n, ...] samples of any kind, any dtype, any device.
        embedder: a name in `EMBEDDERS`, `"auto"`, or `"module:function"` for one of your own. Never pass on a name
            that was read from a run directory: the module is imported.

    Returns:
        [n, d] float32 on the device of `x`, without a graph, and the name of the embedder that made it.

    Raises:
        UnknownName: no such embedder.
        ShapeError: `x` is no batch, or the embedder did not return one row for each sample.
    """
    if x.ndim < 1 or x.numel() == 0:
        raise ShapeError(f"embed needs a batch [n, ...] with at least one number a sample, got {tuple(x.shape)}")
    name = _choose(x)[0] if embedder == "auto" else embedder
    with torch.no_grad():
        features = _lookup(name)(x.detach())
    if features.ndim != 2 or len(features) != len(x):
        raise ShapeError(f"embedder {name!r} returned {tuple(features.shape)} for {len(x)} samples; expected [n, d]")
    return features.float(), name


def explain(x: Tensor) -> str:
    """Why `embed(x)` picks the embedder that it picks, in a sentence."""
    name, reason = _choose(x)
    return f"{name}: {reason}"


def _choose(x: Tensor) -> tuple[str, str]:
    width = prod(x.shape[1:])
    if width <= SMALL:
        return "identity", f"a sample has {width} numbers, few enough to compare samples as they are"
    return "random_projection", f"a sample has {width} numbers: pooled and projected, distances survive and cost less"


def _lookup(name: str) -> Embedder:
    if ":" not in name:
        return EMBEDDERS[name]
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UnknownName(f"embedder {name!r} cannot be loaded: {error}. Expected module:function") from error
    if not callable(found):
        raise UsageError(f"embedder {name!r} is {type(found).__name__}, not a function from a batch to features")
    return cast(Embedder, found)
