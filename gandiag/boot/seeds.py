"""Training an unmodified script on another seed."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

_NUMPY_SEEDS = 2**32


def offset_seeds(offset: int) -> None:
    """Add `offset` to each seed that the script sets from now on, and seed what it never seeds with it.

    Local generators (`torch.Generator`, `numpy.random.default_rng`) keep their seeds: they are mostly data
    pipelines, and the same data for both arms of a comparison is what is wanted.

    Args:
        offset: 0 changes nothing.
    """
    if not offset:
        return
    torch.manual_seed(offset)
    np.random.seed(offset % _NUMPY_SEEDS)  # noqa: NPY002 - the stream that scripts use
    random.seed(offset)
    inside = False

    def patch(home: Any, name: str, below: int | None = None) -> None:
        plain: Callable[..., Any] = getattr(home, name)

        def shifted(seed: Any) -> Any:
            try:
                seed = operator.index(seed) + offset  # numpy's integers too
            except TypeError:  # None, a text, an array
                return seed
            return seed % below if below else seed

        def seeded(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if inside:  # torch.manual_seed seeds the GPUs by the functions below
                return plain(*args, **kwargs)
            inside = True
            try:
                args, kwargs = (shifted(args[0]), *args[1:]) if args else (), dict(kwargs)
                for key in ("seed", "a"):
                    if key in kwargs:
                        kwargs[key] = shifted(kwargs[key])
                return plain(*args, **kwargs)
            finally:
                inside = False

        setattr(home, name, seeded)

    patch(torch, "manual_seed")
    torch.random.manual_seed = torch.manual_seed
    patch(torch.cuda, "manual_seed")
    patch(torch.cuda, "manual_seed_all")
    patch(random, "seed")
    patch(np.random, "seed", below=_NUMPY_SEEDS)
