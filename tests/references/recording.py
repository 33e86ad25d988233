"""What the probes write, worked out one number at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor


def quantile(values: Sequence[float], rank: int) -> float:
    """The value of this rank, from 0."""
    return sorted(values)[rank]


def norm(tensors: Sequence[Tensor]) -> float:
    """The L2 norm of all numbers of all tensors, summed one by one in double precision."""
    return math.sqrt(sum(float(value) ** 2 for tensor in tensors for value in tensor.detach().double().flatten()))


def participation_ratio(x: Tensor) -> float:
    """From the eigenvalues of the covariance of the rows of x [n, f]."""
    eigenvalues = torch.linalg.eigvalsh(torch.cov(x.double().T))
    return float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


def mean_similarity(x: Tensor) -> float:
    """Cosine similarity of each pair of rows of x [n, f], averaged."""
    pairs = [torch.nn.functional.cosine_similarity(a, b, dim=0) for a, b in combinations(x.double(), 2)]
    return float(torch.stack(pairs).mean())


def dead_share(x: Tensor) -> float:
    """Share of the columns of x [n, f] that hold one value only."""
    return sum(len(set(column.tolist())) == 1 for column in x.T) / x.shape[1]


def std(values: Sequence[float], *, lost: int = 0) -> float:
    """Standard deviation; `lost` degrees of freedom are taken off the count."""
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - lost))
