"""Calling somebody's network, and leaving everything as it was: modes, buffers, random streams."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def evaluated(module: nn.Module) -> Iterator[None]:
    """In evaluation mode and without gradients; then each submodule's mode and each buffer is what it was.

    The buffer is then the same tensor with the same content. One that did not change is not written, since writing
    would spoil a graph that somebody is still to differentiate.
    """
    modes = [(part, part.training) for part in module.modules()]
    buffers = [
        (part, name, buffer, buffer.clone())
        for part in module.modules()
        for name, buffer in part.named_buffers(recurse=False)
    ]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training
        for part, name, buffer, content in buffers:
            if getattr(part, name) is not buffer:
                setattr(part, name, buffer)
            if not torch.equal(buffer, content):
                with torch.no_grad():
                    buffer.copy_(content)


@contextmanager
def streams_kept() -> Iterator[None]:
    """Put every random stream back to where it was."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the stream that scripts use
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
