"""Less for gandiag to search through."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def few_objects() -> Iterator[None]:
    """Hide what is alive already, pytest and all, from the search for modules, which would take most of the time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
