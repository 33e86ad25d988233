"""One more place to tap: where a CUDA graph is captured.

Python runs once for a captured graph, at the capture, and never at its replays. Moreover the capture forbids what
recording does now and then, such as asking for an event, and would put gandiag's own kernels into each replay. So the
observer sees nothing while a graph is captured, and says that it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from gandiag.loop.taps import Taps


class Tapped(Protocol):
    """What this tap calls."""

    def capture_began(self) -> None:
        """The kernels of this thread go into a graph from here on."""

    def capture_ended(self) -> None:
        """They run again."""


def tap_captures(taps: Taps, tapped: Tapped) -> None:
    """Put this tap in; `taps.close()` takes it out."""

    def begin(old: Callable[..., None]) -> Callable[..., None]:
        def watched(*args: Any, **kwargs: Any) -> None:
            old(*args, **kwargs)
            tapped.capture_began()

        return watched

    def end(old: Callable[..., None]) -> Callable[..., None]:
        def watched(*args: Any, **kwargs: Any) -> None:
            try:
                old(*args, **kwargs)
            finally:
                tapped.capture_ended()

        return watched

    # `torch.cuda.graph`, `make_graphed_callables` and torch.compile's own graphs all end here.
    taps.replace(torch.cuda.CUDAGraph, "capture_begin", begin)
    taps.replace(torch.cuda.CUDAGraph, "capture_end", end)
