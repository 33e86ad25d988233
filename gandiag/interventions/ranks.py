"""gandiag's own gradients over several ranks: averaged, as DistributedDataParallel averages the script's.

A gradient that gandiag makes by itself does not pass through the wrapper's reducer. Each rank's term is a mean over its
own batch, and so is its loss in a script under DDP: the mean over ranks of both is what one process would have with
the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.distributed as dist
from torch import Tensor, nn


def count() -> int:
    """How many ranks train together; 1 where torch.distributed is not in use."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This one's number, from 0."""
    return dist.get_rank() if count() > 1 else 0


def averaged(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The mean over ranks of each parameter's gradient; the gradients themselves on one rank.

    A collective. A parameter that a term does not reach on this rank may be reached on another: it counts as zero.
    """
    if count() == 1:
        return list(gradients)
    whole: list[Tensor | None] = []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        sum_ = gradient.detach().clone() if gradient is not None else parameter.detach().new_zeros(parameter.shape)
        dist.all_reduce(sum_)
        whole.append(sum_ / count())
    return whole


def average_grads(parameters: Sequence[nn.Parameter]) -> None:
    """The mean over ranks of what is in `.grad` of parameters that no wrapper knows of, in place."""
    if count() == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = parameter.detach().new_zeros(parameter.shape)
        dist.all_reduce(parameter.grad)
        parameter.grad /= count()
