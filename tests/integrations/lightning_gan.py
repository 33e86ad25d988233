"""A GAN as people write it for Lightning, in the ways in which its loop is written."""

from __future__ import annotations

from typing import Any

import torch
from helpers.training import X, Z, discriminator, generator
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

BATCHES, ROWS = 4, 16


class G(nn.Module):
    """From (n, 4) to (n, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = generator()

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z)


class D(nn.Module):
    """From (n, 2) to (n, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = discriminator()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Steps:
    """Both networks in one module, manual optimization, G before D as in Lightning's own example.

    A LightningModule by its second base, as there are two packages that have one.

    Args:
        style: "toggle", "closure" (the step runs the backward pass), "clip", "accumulate" (two batches a step), or
            "plain" (torch's own optimizers, past Lightning's proxies).
    """

    def __init__(self, style: str = "toggle") -> None:
        super().__init__()
        self.automatic_optimization = False
        self.style = style
        self.generator, self.discriminator = G(), D()

    def forward(self, z: Tensor) -> Tensor:
        return self.generator(z)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(net.parameters(), lr=1e-3) for net in (self.generator, self.discriminator)]

    def g_loss(self, x: Tensor) -> Tensor:
        return bce(self.discriminator(self(torch.randn(len(x), Z))), 1.0)

    def d_loss(self, x: Tensor) -> Tensor:
        return bce(self.discriminator(x), 1.0) + bce(self.discriminator(self(torch.randn(len(x), Z)).detach()), 0.0)

    def training_step(self, batch: list[Tensor], index: int) -> None:
        (x,) = batch
        optimizers: Any = self.optimizers(use_pl_optimizer=self.style != "plain")
        for name, optimizer, loss in zip("gd", optimizers, (self.g_loss, self.d_loss), strict=True):
            self.toggle_optimizer(optimizer)
            value = getattr(self, self.style)(optimizer, lambda x=x, loss=loss: loss(x), index)
            self.untoggle_optimizer(optimizer)
            self.log(f"{name}_loss", value)

    def validation_step(self, batch: list[Tensor]) -> None:
        self.log("validity", self.discriminator(batch[0]).mean())

    def toggle(self, optimizer: Any, loss: Any, index: int) -> Tensor:
        value = loss()
        optimizer.zero_grad()
        self.manual_backward(value)
        optimizer.step()
        return value.detach()

    plain = toggle

    def closure(self, optimizer: Any, loss: Any, index: int) -> Tensor:
        values = []

        def closure() -> Tensor:
            values.append(loss())
            optimizer.zero_grad()
            self.manual_backward(values[0])
            return values[0]

        optimizer.step(closure=closure)
        return values[0].detach()

    def clip(self, optimizer: Any, loss: Any, index: int) -> Tensor:
        value = loss()
        optimizer.zero_grad()
        self.manual_backward(value)
        self.clip_gradients(optimizer, gradient_clip_val=0.05, gradient_clip_algorithm="norm")
        optimizer.step()
        return value.detach()

    def accumulate(self, optimizer: Any, loss: Any, index: int) -> Tensor:
        value = loss()
        self.manual_backward(value / 2)
        if index % 2:
            optimizer.step()
            optimizer.zero_grad()
        return value.detach()


class GAN(Steps, LightningModule):
    """For `lightning`."""


def bce(logits: Tensor, target: float) -> Tensor:
    """Binary cross-entropy against one target for all rows."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def loader(batches: int = BATCHES, *, shuffle: bool = True) -> DataLoader[tuple[Tensor, ...]]:
    """Batches (16, 2) of two blobs, shuffled by torch's own random stream."""
    rows = torch.Generator().manual_seed(1)
    x = torch.randn(batches * ROWS, X, generator=rows) * 0.1
    return DataLoader(TensorDataset(x + (torch.arange(len(x)) % 2 * 2)[:, None]), batch_size=ROWS, shuffle=shuffle)
