"""Feature matching: G matches the mean of D's features on real samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from gandiag.techniques.base import Batch, Card, Technique, positive, technique


def feature_gap(*, real: Float[Tensor, "n f"], fake: Float[Tensor, "m f"]) -> Float[Tensor, ""]:
    """Squared distance of the mean features, 0-dim.

    Source: Salimans et al. 2016, arXiv:1606.03498, section 3.1.
    """
    return (real.mean(dim=0) - fake.mean(dim=0)).square().sum()


@technique(
    Card(
        name="feature_matching",
        summary="Adds the distance of D's mean features on real and on fake samples to G's loss.",
        treats={"GD201": 0.4, "GD203": 0.4, "GD105": 0.3, "GD104": 0.2},
        source="Salimans et al. 2016, arXiv:1606.03498, section 3.1",
        seams=("gradients",),
        cost=1.5,
        cautions=("matches means only: it pulls towards the data's centre as a whole, not into each mode",),
        snippet="""\
gap = (features(x_real).detach().mean(0) - features(G(z)).mean(0)).square().sum()  # D's penultimate layer
loss_g = loss_g + {weight} * gap""",
    )
)
@dataclass
class FeatureMatching(Technique):
    """Feature matching, added to the script's own loss of G.

    Attributes:
        weight: above zero. The paper replaces G's loss; added, 1 is a start.
    """

    reads_features: ClassVar[bool] = True
    weight: float = 1.0

    def check(self) -> None:
        """Refuse weights that mean nothing."""
        positive("feature_matching", weight=self.weight)

    def g_loss(self, batch: Batch) -> Tensor:
        """`weight` * |E f(real) - E f(fake)|^2."""
        real = batch.critic.features(batch.real).detach()
        return self.weight * feature_gap(real=real, fake=batch.critic.features(batch.fake, like="fake"))
