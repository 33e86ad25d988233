"""The matrix work of Fréchet and Vendi in float64: products with themselves, roots, sums of singular values.

A square root of a non-symmetric matrix (`sqrtm`) is never taken: it is the slowest way, and it leaves imaginary parts.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_LOST = 1e-8
"""Part of a sum of singular values that may be lost in the rounding of squares; more, and they are not squared."""


def gram(x: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """`Xᵀ X`, exactly symmetric on the CPU."""
    if x.device.type != "cpu":
        return x.T @ x
    array = x.numpy()
    return torch.from_numpy(array.T @ array)  # NumPy sees the symmetry and does half of torch's work


def eigenvalues(symmetric: Float[Tensor, "d d"]) -> Float[Tensor, " d"]:
    """Of a matrix that has none below zero: ascending, and what rounding put below zero is zero."""
    values: Tensor = torch.linalg.eigvalsh(symmetric)
    return values.clamp(min=0)


def covariance_root(covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d r"]:
    """Some `A` with `A Aᵀ` = the covariance; r is d, or fewer where that has directions of no variance.

    A Cholesky factor costs a tenth of an eigendecomposition, and exists wherever all directions vary.
    """
    factor, failed_at = torch.linalg.cholesky_ex(covariance)
    if not int(failed_at):
        lower: Tensor = factor
        return lower
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > len(values) * torch.finfo(values.dtype).eps * values[-1]
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root


def nuclear_norm(x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """The sum of the singular values.

    The eigenvalues of the smaller of `Xᵀ X` and `X Xᵀ` are their squares and come at half the price, or far less on a
    GPU. But squares of small ones drown in the rounding of the largest. So they are used where what can be lost is
    nothing, and the singular values themselves elsewhere, as for embeddings whose spectrum falls off steeply.
    """
    if 0 in x.shape:
        return x.new_zeros(())
    squares = eigenvalues(gram(x) if x.shape[1] <= x.shape[0] else gram(x.T))
    # Errors of eigenvalues are as large as the rounding of the largest one: seen up to 3.3 of these, d = 2..1024. That
    # all of them err by so much in one direction is a bound that steep spectra come nowhere near, but low ranks do.
    rounding = len(squares) ** 0.5 * torch.finfo(squares.dtype).eps * squares[-1]
    total = squares.sqrt().sum()
    lost = torch.minimum(rounding / squares.sqrt().clamp(min=torch.finfo(squares.dtype).tiny), rounding.sqrt()).sum()
    if float(lost) <= _LOST * float(total):
        return total
    values: Tensor = torch.linalg.svdvals(x)
    return values.sum()
