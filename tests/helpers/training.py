"""A small GAN's training loop, plain, with a place to look on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

N, Z, X = 16, 4, 2


def generator(width: int = 16) -> nn.Sequential:
    """From (n, 4) to (n, 2)."""
    return nn.Sequential(nn.Linear(Z, width), nn.ReLU(), nn.Linear(width, X))


def discriminator(*end: nn.Module, width: int = 16) -> nn.Sequential:
    """From (n, 2) to (n, 1)."""
    return nn.Sequential(nn.Linear(X, width), nn.ReLU(), nn.Linear(width, 1), *end)


@dataclass
class Loop:
    """Two nets, two optimizers, and a loop around them that knows nothing of gandiag.

    Attributes:
        before_d, before_g: called with the loop's own tensors right before each optimizer steps.
    """

    seed: int = 0
    sigmoid: bool = False
    batch: int = N
    before_d: Callable[..., None] = lambda **tensors: None
    before_g: Callable[..., None] = lambda **tensors: None
    g: nn.Module = field(init=False)
    d: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        self.g, self.d = generator(), discriminator(*([nn.Sigmoid()] if self.sigmoid else []))
        self.optimizer_g = torch.optim.Adam(self.g.parameters(), lr=1e-3, betas=(0.5, 0.999))
        self.optimizer_d = torch.optim.Adam(self.d.parameters(), lr=1e-3, betas=(0.5, 0.999))

    def loss(self, output: Tensor, target: float) -> Tensor:
        """BCE, of a probability or of a logit."""
        bce = F.binary_cross_entropy if self.sigmoid else F.binary_cross_entropy_with_logits
        return bce(output, torch.full_like(output, target))

    def real(self) -> Tensor:
        """Two blobs, (n, 2)."""
        return torch.randn(self.batch, X) * 0.1 + torch.randint(0, 2, (self.batch, 1)) * 2

    def train(self, steps: int) -> Loop:
        """One D step and one G step an iteration."""
        for _ in range(steps):
            real, fake = self.real(), self.g(torch.randn(self.batch, Z))
            self.optimizer_d.zero_grad()
            y_real, y_fake = self.d(real), self.d(fake.detach())
            loss = self.loss(y_real, 1.0) + self.loss(y_fake, 0.0)
            loss.backward()
            self.before_d(real=real, fake=fake, y_real=y_real, y_fake=y_fake, loss=loss)
            self.optimizer_d.step()
            self.optimizer_g.zero_grad()
            y_fake = self.d(fake)
            loss = self.loss(y_fake, 1.0)
            loss.backward()
            self.before_g(y_fake=y_fake, loss=loss)
            self.optimizer_g.step()
        return self

    def fingerprint(self) -> str:
        """SHA-256 over weights, optimizer states and torch's random stream."""
        return fingerprint(
            self.g.state_dict(), self.d.state_dict(), self.optimizer_g.state_dict(), self.optimizer_d.state_dict()
        )


def fingerprint(*states: Any) -> str:
    """SHA-256 over nested states and torch's random stream."""
    digest = hashlib.sha256(torch.get_rng_state().numpy().tobytes())

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            digest.update(value.detach().contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                add(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            digest.update(repr(value).encode())

    add(states)
    return digest.hexdigest()
