"""A batch for a technique's losses, with a critic that a test makes up."""

from __future__ import annotations

from collections.abc import Callable

import torch
from helpers.gan_loops import own_stream
from torch import Tensor, nn

from gandiag.techniques.base import Batch


class Judge:
    """A critic that is a function of its samples; `asked` tells whose labels it was to use."""

    def __init__(self, judge: Callable[[Tensor], Tensor]) -> None:
        self.judge = judge
        self.asked: list[str] = []

    def __call__(self, x: Tensor, *, like: str = "real", weights: dict[str, Tensor] | None = None) -> Tensor:
        self.asked.append(like)
        return self.judge(x)

    def parameters(self) -> dict[str, nn.Parameter]:
        return {}

    def features(self, x: Tensor, *, like: str = "real") -> Tensor:
        raise NotImplementedError


class NoLoss:
    """The losses of a script that has none."""

    family = "unknown"
    known_of_g = False

    def real(self, logits: Tensor) -> Tensor:
        raise NotImplementedError

    fake = g = real


def batch_of(critic: Judge, *, real: Tensor, fake: Tensor, pack: int = 1) -> Batch:
    """What gandiag would give to `d_loss` and `g_loss`."""
    return Batch(
        real=real,
        fake=fake,
        critic=critic,
        generator=own_stream(),
        weight=torch.ones(()),
        pack=pack,
        net=nn.Identity(),
        own=NoLoss(),
    )


def slope_five(x: Tensor) -> Tensor:
    """D(x) = 3 x_1 + 4 x_2, shape (n, 1), whose slope has the norm 5 everywhere."""
    return x @ torch.tensor([[3.0], [4.0]])


def slope_five_in_packs(x: Tensor) -> Tensor:
    """The same of each of two samples, which are judged together: one logit for each two rows."""
    return x.view(-1, 4) @ torch.tensor([[3.0], [4.0], [3.0], [4.0]])
