"""One-sided label smoothing: D is asked for 0.9 on real samples, not for 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.techniques.base import Batch, Card, Technique, technique


def smoothing_term(logits: Float[Tensor, ...], *, target: float) -> Float[Tensor, ""]:
    """What smoothing adds to binary cross-entropy: BCE(target) - BCE(1) = (1 - target) * mean(logits), 0-dim.

    Exact, as BCE with a soft target t is softplus(l) - t * l.
    Source of the technique: Salimans et al. 2016, arXiv:1606.03498, section 3.4.
    """
    return (1 - target) * logits.mean()


@technique(
    Card(
        name="label_smoothing",
        summary="One-sided label smoothing: D's target for real samples is 0.9 in place of 1.",
        treats={"GD201": 0.5, "GD203": 0.2},
        source="Salimans et al. 2016, arXiv:1606.03498, section 3.4",
        seams=("gradients",),
        cost=1.3,
        cautions=("for binary cross-entropy only", "the fakes' target stays 0: smoothing it makes G reinforce itself"),
        conflicts=("rpgan_r1_r2", "wgan_gp"),
        suits=("bce",),
        snippet="loss_real = F.binary_cross_entropy_with_logits(D(x_real), torch.full_like(D(x_real), {real}))",
    )
)
@dataclass
class LabelSmoothing(Technique):
    """One-sided label smoothing.

    Attributes:
        real: D's target for real samples, in (0.5, 1).
    """

    judges: ClassVar[tuple[str, ...]] = ("real",)
    real: float = 0.9

    def check(self) -> None:
        """Refuse targets that are no smoothing."""
        if not 0.5 < self.real < 1:
            raise UsageError(f"technique 'label_smoothing': real must lie between 0.5 and 1, got {self.real}")

    def d_loss(self, batch: Batch) -> Tensor:
        """The difference that the soft target makes, with the script's own weight on its real loss."""
        return batch.weight * smoothing_term(batch.critic(batch.real), target=self.real)

    def loss_at(self, logits: Tensor, *, side: str, weight: Tensor) -> Tensor:
        """The same."""
        return weight * smoothing_term(logits, target=self.real)
