"""Bringing tensors from their device to numpy without making the training step wait."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Transfer:
    """A copy under way. On the CPU it is done at once; on a GPU it runs beside the training.

    Args:
        tensors: by name; not to be changed until `ready`.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._events: dict[torch.device, torch.cuda.Event] = {}  # an event is one device's
        self._host: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            if tensor.device.type == "cuda":
                # Pinned, or "non_blocking" would wait all the same; the device tensor is kept until the event.
                slot = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                slot.copy_(tensor, non_blocking=True)
                self._host[name] = slot
                self._events.setdefault(tensor.device, torch.cuda.Event())  # type: ignore[no-untyped-call]
            else:
                self._host[name] = tensor
        self._device = tensors
        for device, event in self._events.items():
            event.record(torch.cuda.current_stream(device))

    def ready(self) -> bool:
        """Whether `result` would not wait."""
        return all(event.query() for event in self._events.values())  # type: ignore[no-untyped-call]

    def result(self) -> dict[str, np.ndarray]:
        """The tensors as arrays; waits if they are not there yet (only at the end of a run)."""
        for event in self._events.values():
            event.synchronize()
        self._device = {}
        return {name: host.detach().numpy() for name, host in self._host.items()}
