"""The registry of embedders, the choice made when asked for "auto", and the verb `embed` for training loops."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import NamedTuple, cast

import torch
from torch import Tensor

from gandiag.errors import GandiagError, ShapeError, UnknownName, UsageError
from gandiag.registry import Registry

Embedder = Callable[[Tensor], Tensor]
"""From a batch [n, ...] to features [n, d]."""

Shape = tuple[int, ...]


class Fitted(NamedTuple):
    """What became of an embedder once it has seen the real samples.

    Attributes:
        features: the function to embed with.
        notes: sentences about what it does to samples before it looks at them.
        work: float32 numbers that it holds for one sample at a time, at most; 0 if it makes none.
        spent: `[m]` rows of the real samples that it learned from, if it did.
    """

    features: Embedder
    notes: tuple[str, ...] = ()
    work: int = 0
    spent: Tensor | None = None


@dataclass(frozen=True)
class Entry:
    """An embedder as the registry holds it.

    Attributes:
        name: what it is asked for by.
        fit: makes it ready for samples such as these real ones, [n, ...].
        features: the embedder itself where it needs no real samples, and so can run in a training loop; else None.
    """

    name: str
    fit: Callable[[Tensor], Fitted]
    features: Embedder | None = None


EMBEDDERS: Registry[Entry] = Registry("embedder", "gandiag.embed")

SMALL = 1024
"""Up to this many numbers a sample is its own best description: on digits (64 numbers) and stacked digits (192) no
other embedder tells the classes better apart. On digits of 3,072 numbers the projection tells them apart as well, with
rows a sixth as long. The figures, and data where it does not, are in docs/reference/embedders.md."""

WORK = 2**23
"""Numbers of float32 that one batch may hold while it is embedded: 32 MiB. On a CPU, larger batches were slower."""
TALL = 64
"""How many times the numbers of a sample a function of the user's is expected to hold for it: a convolution of 64
channels over an image of one."""


def embedder(
    name: str,
    *,
    notes: Callable[[Shape], tuple[str, ...]] = lambda shape: (),
    work: Callable[[Shape], int] = lambda shape: 0,
) -> Callable[[Embedder], Embedder]:
    """Register a function [n, ...] -> [n, d] that needs no real samples to be fitted on.

    Args:
        name: what it is asked for by.
        notes: from the shape of a sample, what is done to it.
        work: from the shape of a sample, see `Fitted.work`.
    """

    def decorate(features: Embedder) -> Embedder:
        def fit(real: Tensor) -> Fitted:
            shape = tuple(real.shape[1:])
            return Fitted(features, notes(shape), work(shape))

        EMBEDDERS.add(name, Entry(name, fit, features), home=features.__module__)
        return features

    return decorate


def fitted_embedder(name: str) -> Callable[[Callable[[Tensor], Fitted]], Callable[[Tensor], Fitted]]:
    """Register a function that makes an embedder from real samples [n, ...]."""

    def decorate(fit: Callable[[Tensor], Fitted]) -> Callable[[Tensor], Fitted]:
        EMBEDDERS.add(name, Entry(name, fit), home=fit.__module__)
        return fit

    return decorate


def embed(x: Tensor, *, embedder: str | Embedder = "auto") -> tuple[Tensor, str]:
    """Features of a batch of samples, by an embedder that needs no fitting: for a training loop.

    To compare two sets, `fit` is the better verb: it checks that they belong together and says what is done to them.

    Args:
        x: [n, ...] samples of any kind, any dtype, any device.
        embedder: a name in `EMBEDDERS`, `"auto"`, `"module:function"` for one of your own, or a function. Never pass
            on a name that was read from a run directory: the module is imported.

    Returns:
        [n, d] float32 on the device of `x`, without a graph, and the name of the embedder that made it.

    Raises:
        UnknownName: no such embedder.
        UsageError: the embedder has to be fitted on real samples first.
        ShapeError: `x` is no batch, or the embedder did not return one row for each sample.
    """
    if x.ndim < 1 or x.numel() == 0:
        raise ShapeError(f"embed needs a batch [n, ...] with at least one number a sample, got {tuple(x.shape)}")
    name = choose(tuple(x.shape[1:]))[0] if embedder == "auto" else embedder
    entry = look_up(name)
    if entry.features is None:
        raise UsageError(
            f"embedder {entry.name!r} has to be fitted on real samples, which a training loop does not do; take "
            f"'auto' there, or gandiag.embed.fit(real, embedder={entry.name!r}) where you have the samples"
        )
    batch = batch_size(entry.fit(x).work)  # of such an embedder, by the shape alone
    return rows(entry.features, x, name=entry.name, batch=batch), entry.name


def refuse_unfit_for_loops(embedder: str | Embedder) -> None:
    """Raise what `embed` would raise at the first batch of a training loop, before the training begins.

    Raises:
        UnknownName: no such embedder.
        UsageError: it has to be fitted, or needs a network that a name cannot give.
    """
    if embedder == "auto":
        return
    entry = look_up(embedder)
    if isinstance(embedder, str) and ":" not in embedder:
        embed(torch.zeros(2, 1, 8, 8), embedder=entry.name)


def explain(x: Tensor) -> str:
    """Why `embed(x)` picks the embedder that it picks, in a sentence."""
    name, reason = choose(tuple(x.shape[1:]))
    return f"{name}: {reason}"


def choose(shape: Shape) -> tuple[str, str]:
    """The embedder that "auto" stands for with samples of a shape, and why.

    By the shape alone, so that it is the same for a batch in a training loop, for all of the data, and on every
    machine: trained networks are never picked because their weights happen to lie on this disk.
    """
    width = prod(shape)
    if width <= SMALL:
        return "identity", f"a sample has {width:,} numbers, few enough to compare samples as they are"
    return "random_projection", f"a sample has {width:,} numbers: pooled and projected, distances survive and cost less"


def look_up(embedder: str | Embedder) -> Entry:
    """The entry for a name, a "module:function", or a function.

    Raises:
        UnknownName: no such embedder.
        UsageError: what was found or given is no function.
    """
    if not isinstance(embedder, str):
        if not callable(embedder):
            raise UsageError(
                f"embedder must be a name or a function from a batch [n, ...] to features [n, d], got "
                f"{type(embedder).__name__}"
            )
        found, name = embedder, getattr(embedder, "name", getattr(embedder, "__name__", type(embedder).__name__))
    elif ":" in embedder:
        found, name = _load(embedder), embedder
    else:
        return EMBEDDERS[embedder]
    return Entry(str(name), lambda real: Fitted(found, work=TALL * real[0].numel()), found)


def batch_size(work: int) -> int | None:
    """How many samples to embed at a time, see `Fitted.work`; None for all."""
    return max(1, WORK // work) if work else None


def rows(
    features: Embedder, x: Tensor, *, name: str, batch: int | None = None, device: torch.device | None = None
) -> Tensor:
    """Features of samples, [n, d] float32 without a graph.

    Args:
        features: the function.
        x: [n, ...].
        name: of the embedder, for messages.
        batch: how many samples at a time; None for all.
        device: where to embed, and to leave the features; None for where `x` is.

    Raises:
        ShapeError: the embedder did not return one row for each sample, or rows of different widths.
        UsageError: the embedder raised an error.
    """
    size, place = batch or len(x), device or x.device
    found: Tensor | None = None
    for start in range(0, len(x), size):
        part = x[start : start + size].detach().to(place)
        made = _made(features, part, name)
        if not isinstance(made, Tensor) or made.ndim != 2 or len(made) != len(part):
            got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise ShapeError(f"embedder {name!r} returned {got} for {len(part)} samples; expected [n, d]")
        made = made.to(place).float()
        if len(made) == len(x):
            return made
        if found is None:
            found = made.new_empty(len(x), made.shape[1])
        if made.shape[1] != found.shape[1]:
            raise ShapeError(
                f"embedder {name!r} returned {found.shape[1]} numbers for one sample and {made.shape[1]} for another; "
                "a function of yours must not depend on how many samples it is given"
            )
        found[start : start + size] = made
    assert found is not None  # x is never empty here
    return found


def _made(features: Embedder, x: Tensor, name: str) -> Tensor:
    try:
        with torch.no_grad():
            return features(x)
    except GandiagError:
        raise
    except Exception as error:  # a function of the user's may raise anything, and says not that it is the embedder
        raise UsageError(
            f"embedder {name!r} failed on samples of shape {list(x.shape)}: {type(error).__name__}: {error}"
        ) from error


def _load(name: str) -> Embedder:
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # importing runs the user's module, which may raise anything
        raise UnknownName(
            f"embedder {name!r} cannot be loaded: {type(error).__name__}: {error}. Expected module:function"
        ) from error
    if not callable(found):
        raise UsageError(f"embedder {name!r} is {type(found).__name__}, not a function from a batch to features")
    return cast(Embedder, found)
