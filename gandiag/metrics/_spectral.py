"""Eigenvalues of the symmetric matrices that the metrics need, in float64, always on the smaller side.

For rows `X` `[n, d]` the matrices `XᵀX` `[d, d]` and `XXᵀ` `[n, n]` have the same eigenvalues but for zeros, so
nothing larger than min(n, d) is ever decomposed.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def squared_singular_values(x: Float[Tensor, "n d"]) -> Float[Tensor, " r"]:
    """The eigenvalues of `XᵀX` or of `XXᵀ`, whichever is smaller, ascending and never negative."""
    gram = x.T @ x if x.shape[1] <= x.shape[0] else x @ x.T
    values: Tensor = torch.linalg.eigvalsh(gram)
    return values.clamp(min=0)


def covariance_root(centred: Float[Tensor, "n d"]) -> Float[Tensor, "d r"]:
    """Some `A` with `A Aᵀ` = the covariance of centred rows, r = min(n, d)."""
    n, d = centred.shape
    if n <= d:
        return centred.T / math.sqrt(n - 1)  # a root already: nothing to decompose
    values, vectors = torch.linalg.eigh(centred.T @ centred / (n - 1))
    root: Tensor = vectors * values.clamp(min=0).sqrt()
    return root
