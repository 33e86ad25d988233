"""What the loop gives to a technique's methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn


@dataclass
class Ends:
    """The first and the last layer with a weight matrix between a net's samples and its first output."""

    stem: nn.Module
    head: nn.Module


Beside: TypeAlias = dict[nn.Module, list[nn.Module]]

Inside: TypeAlias = Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]
"""What a layer does in place of its forward: from its input, and from the forward that it would have had."""


@runtime_checkable
class Critic(Protocol):
    """D as a differentiable function of its samples alone; labels and other inputs are those of the batch."""

    def __call__(self, x: Tensor, *, like: str = "real", weights: dict[str, Tensor] | None = None) -> Tensor:
        """D's logits for `x`, one for each pack.

        Args:
            x: samples, (n, ...).
            like: whose other inputs (labels) to use, "real" or "fake".
            weights: values in place of D's parameters, by their names; those that are missing are D's own.
        """

    def parameters(self) -> dict[str, nn.Parameter]:
        """D's parameters that are trained, by name."""

    def features(self, x: Tensor, *, like: str = "real") -> Tensor:
        """D's penultimate features of `x`, shape (n, f)."""


@runtime_checkable
class OwnLoss(Protocol):
    """The script's own losses of D and G, read off the gradients that they send to D's outputs.

    Each gives one number a sample, and their mean is the script's loss of a batch, its weight included: so a technique
    that changes the batch can say what the script itself would have made of it.
    """

    @property
    def known_of_g(self) -> bool:
        """Whether G has learned from it yet: before its first step `g` is zero."""

    @property
    def family(self) -> str:
        """Of "bce", "hinge", "wasserstein", "least_squares", "least_squares_of_probability"."""

    def real(self, logits: Tensor) -> Tensor:
        """D's loss of each real sample, shape of `logits`."""

    def fake(self, logits: Tensor) -> Tensor:
        """D's loss of each fake sample, likewise."""

    def g(self, logits: Tensor) -> Tensor:
        """G's loss of each fake sample, likewise; known from G's first step on."""


@runtime_checkable
class Maker(Protocol):
    """G as a differentiable function of its latents alone; labels are those of the script's call."""

    def __call__(self, z: Tensor) -> Tensor:
        """Samples for the latents `z`, (n, ...); n at most that of the script's call."""

    def parameters(self) -> dict[str, nn.Parameter]:
        """G's parameters that are trained, by name."""


@dataclass
class Batch:
    """What a loss of a technique may use.

    Attributes:
        real: what D last saw as real, shape (n, ...), no graph.
        fake: what D saw as fake, shape (m, ...); in `g_loss` it requires a gradient.
        critic: D; its forward leaves buffers and every random stream as they were.
        generator: gandiag's own random stream, on the batch's device.
        weight: the script's weight on its loss for the real batch, 0-dim; 1 where it is not BCE.
        pack: how many samples D judges at a time (PacGAN); the critic gives one logit for each pack.
        net: which D it is, for techniques that remember something of each; not to be called.
        real_logits: what D said of `real` in the script's own forward, shape of D's output, no graph; None if its
            output was not reached by a gradient, in `g_loss`, and for techniques without `reads_logits`.
        fake_logits: the same of `fake`.
        own: the script's losses; known to techniques with `reads_own_loss`.
        step: steps of this D before this one; alike for all parts of an accumulated gradient.
    """

    real: Tensor
    fake: Tensor
    critic: Critic
    generator: torch.Generator
    weight: Tensor
    pack: int
    net: nn.Module
    own: OwnLoss
    step: int = 0
    real_logits: Tensor | None = None
    fake_logits: Tensor | None = None


@dataclass
class Latent:
    """What a change of G's input, or a loss through another forward of G, may use.

    Attributes:
        z: what G was given, shape (n, ...), no graph.
        make: G; its forward leaves buffers and every random stream as they were.
        critic: D, with the labels of G's own call for what is `like="fake"`; None as long as no batch of real and fake
            samples has been seen, and for techniques without `asks_d`.
        generator: gandiag's own random stream, on z's device.
        real: what D last saw as real, or None.
        own: the script's losses; known to techniques with `reads_own_loss`.
        labelled: whether G is given anything beside each latent, such as labels.
    """

    z: Tensor
    make: Maker
    critic: Critic | None
    generator: torch.Generator
    own: OwnLoss
    real: Tensor | None = None
    labelled: bool = False
