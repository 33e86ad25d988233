"""Adaptive steps: the player that is too far ahead waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch import distributed as dist

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques.base import Batch, Card, Technique, technique


def accuracy(*, real: Float[Tensor, ...], fake: Float[Tensor, ...]) -> Float[Tensor, ""]:
    """The share of D's logits on the right side of zero, 0-dim.

    Source: Wu et al. 2016 (3D-GAN), arXiv:1610.07584, section 3.
    """
    return torch.cat([(real > 0).flatten(), (fake < 0).flatten()]).double().mean()


@technique(
    Card(
        name="adaptive_n_critic",
        summary="Leaves D's step out where D tells real from fake too well, and G's where it does too badly.",
        treats={"GD201": 0.3},
        source="Wu et al. 2016 (3D-GAN), arXiv:1610.07584, section 3",
        seams=("optimizer",),
        cost=1.05,
        cautions=(
            "weak evidence: ganhacks, section 11, warns that balancing by statistics was tried by all and is hard",
            "zero must divide D's logits: for cross-entropy and hinge, not for Wasserstein or least squares",
            "the host waits for the device once in each step of D",
        ),
        conflicts=("n_critic",),
        snippet="""\
right = torch.cat([(logits_real > 0).flatten(), (logits_fake < 0).flatten()]).double().mean().item()
if right <= {high}:   # at each step of D
    optimizer_d.step()
if right >= {low}:    # at each step of G, with the last one of D's
    optimizer_g.step()""",
    )
)
@dataclass
class AdaptiveNCritic(Technique):
    """D waits above one accuracy, G below another.

    Attributes:
        high: D's accuracy on its batch above which its step is left out, in (0, 1); 1 leaves none out.
        low: D's accuracy at its last step below which G's is left out, below `high`; 0 leaves none out.
    """

    reads_logits: ClassVar[bool] = True
    high: float = 0.8
    low: float = 0.0
    _seen: list[Tensor] = field(default_factory=list, init=False, repr=False)
    _accuracy: float | None = field(default=None, init=False, repr=False)

    def check(self) -> None:
        """Refuse bounds between which there is nothing, or everything."""
        if not 0 <= self.low < self.high <= 1:
            raise UsageError(
                "technique 'adaptive_n_critic': 0 <= low < high <= 1 must hold, got "
                f"low={self.low} and high={self.high}"
            )
        if self.low == 0 and self.high == 1:
            raise UsageError("technique 'adaptive_n_critic': low=0 and high=1 leave nothing out; narrow them")

    def d_loss(self, batch: Batch) -> None:
        """Adds nothing: it looks at what D said of this batch in the script's own forward."""
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            raise TechniqueRefused(
                "adaptive_n_critic decides by the samples of one rank, and several ranks would leave out different "
                "steps; use n_critic or learning_rate"
            )
        if batch.real_logits is None or batch.fake_logits is None:
            raise TechniqueRefused(
                "adaptive_n_critic reads D's logits where the script's loss meets them, and this loss does not reach "
                "D's first output; use n_critic or learning_rate"
            )
        self._seen.append(accuracy(real=batch.real_logits, fake=batch.fake_logits))

    def skips(self, *, role: str) -> bool:
        """By D's accuracy: the mean over all batches of this step of D's; for G, over those of D's last one."""
        if role == "d":
            self._accuracy = torch.stack(self._seen).mean().item() if self._seen else None
            self._seen.clear()
        if self._accuracy is None:
            return False
        return self._accuracy > self.high if role == "d" else self._accuracy < self.low
