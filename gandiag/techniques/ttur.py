"""TTUR: two time-scale update rule, a faster D."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gandiag.techniques.base import Card, Technique, positive, technique


@technique(
    Card(
        name="ttur",
        summary="Sets D's learning rate to a multiple of G's.",
        treats={"GD203": 0.4, "GD105": 0.3, "GD202": 0.6},
        source="Heusel et al. 2017, arXiv:1706.08500, section 2",
        seams=("optimizer",),
        cost=1.0,
        cautions=("a faster D makes a D that is too strong stronger; a ratio below 1 is the remedy there",),
        snippet="optimizer_d = torch.optim.Adam(D.parameters(), lr={ratio} * lr_g)",
    )
)
@dataclass
class TTUR(Technique):
    """D's learning rate over G's; the script's schedule of G's rate is followed.

    Attributes:
        ratio: above zero; 4 is SAGAN's and BigGAN's setting.
    """

    ratio: float = 4.0

    def check(self) -> None:
        """Refuse ratios that mean nothing."""
        positive("ttur", ratio=self.ratio)

    def learning_rate(self, *, role: str, own: float | Tensor, other: float | Tensor) -> float | Tensor:
        """`ratio` times G's rate for D; G's own stays."""
        return self.ratio * other if role == "d" else own
