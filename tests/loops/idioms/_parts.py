"""What the idioms are built from: tiny nets, data, and the book in which a loop writes down the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Rows of a batch, width of the noise, width of a sample.
N, Z, X = 16, 4, 2


class Truth(Counter[tuple[str, str]]):
    """How often D was called, by (kind, phase). Calls that no step used are not written down.

    Attributes:
        iterations: how often G has stepped, if not once in each round; None where it cannot be said from outside.
        gaps: some rounds have no step of D or none of G, so that a loss is missing there.
    """

    def __init__(self, iterations: int | None = None) -> None:
        super().__init__()
        self.iterations = iterations
        self.gaps = False

    def saw(self, **calls: int) -> None:
        """Count calls, each by keyword `kind_phase=how_many`, as in `saw(real_d=1, fake_d=1)`."""
        for key, count in calls.items():
            kind, _, phase = key.rpartition("_")
            self[kind, phase] += count


Idiom = Callable[[int, Truth], dict[str, Any]]


class Gen(nn.Module):
    def __init__(self, inputs: int = Z, outputs: int = X) -> None:
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(inputs, 16), nn.ReLU())
        self.synthesis = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, outputs))

    def forward(self, z: Tensor) -> Tensor:
        return self.synthesis(self.mapping(z))


class Disc(nn.Module):
    def __init__(self, end: nn.Module | None = None, inputs: int = X) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1), end or nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def data(rows: int = N, width: int = X) -> Tensor:
    """Two narrow modes, shape (rows, width)."""
    return torch.randn(rows, width) * 0.1 + torch.randint(0, 2, (rows, 1)) * 2


def noise(rows: int = N) -> Tensor:
    return torch.randn(rows, Z)


def adam(*nets: nn.Module, lr: float = 1e-3) -> torch.optim.Adam:
    return torch.optim.Adam([p for net in nets for p in net.parameters()], lr=lr, betas=(0.5, 0.999))


def bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def d_step(g: nn.Module, d: nn.Module, od: torch.optim.Optimizer, truth: Truth) -> None:
    """D's half of a plain round, for idioms whose point is elsewhere."""
    od.zero_grad()
    (bce(d(data()), 1.0) + bce(d(g(noise()).detach()), 0.0)).backward()
    od.step()
    truth.saw(real_d=1, fake_d=1)


def g_step(g: nn.Module, d: nn.Module, og: torch.optim.Optimizer, truth: Truth) -> None:
    """G's half of a plain round."""
    og.zero_grad()
    bce(d(g(noise())), 1.0).backward()
    og.step()
    truth.saw(fake_g=1)
