"""The sample itself, flattened."""

from __future__ import annotations

from torch import Tensor

from gandiag.embed.base import embedder


@embedder("identity")
def identity(x: Tensor) -> Tensor:
    """Flatten each sample: [n, ...] of any dtype -> [n, d] float32."""
    return x.reshape(len(x), -1).float()
