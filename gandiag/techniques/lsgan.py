"""LSGAN: least squares on D's outputs, which pull on samples in proportion to how far they are off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.techniques.base import Batch, Card, Technique, technique


def least_squares_d(*, real: Float[Tensor, ...], fake: Float[Tensor, ...], a: float, b: float) -> Float[Tensor, ""]:
    """D's loss, E (D(real) - b)^2 / 2 + E (D(fake) - a)^2 / 2, 0-dim; the two sides may differ in size.

    Source: Mao et al. 2017, arXiv:1611.04076, Eq. 2.

    Args:
        real: D's outputs for real samples, before any sigmoid.
        fake: the same for fake samples.
        a: D's target for fake samples.
        b: D's target for real ones.
    """
    return 0.5 * (real - b).square().mean() + 0.5 * (fake - a).square().mean()


def least_squares_g(*, fake: Float[Tensor, ...], c: float) -> Float[Tensor, ""]:
    """G's loss, E (D(fake) - c)^2 / 2, 0-dim; same source. `c` is what G wants D to say."""
    return 0.5 * (fake - c).square().mean()


@technique(
    Card(
        name="lsgan",
        summary="Replaces both losses by least squares: D's outputs are drawn to 0 and 1, G's samples to D's 1.",
        treats={"GD201": 0.4, "GD203": 0.2, "GD301": 0.2},
        source="Mao et al. 2017, arXiv:1611.04076, Eq. 2 and 9",
        seams=("gradients",),
        cost=1.35,
        cautions=(
            "no remedy for missing modes: it covers no more of them than cross-entropy does",
            "G's pull grows with the distance of D's output from c, so a D that runs away pulls hard",
            "the losses that the script prints no longer say what is trained",
        ),
        conflicts=("label_smoothing",),
        snippet="""\
# D's step; D's output before any sigmoid
loss_d = (D(x_real) - {b}).square().mean() / 2 + (D(x_fake.detach()) - {a}).square().mean() / 2
loss_g = (D(G(z)) - {c}).square().mean() / 2   # G's step""",
    )
)
@dataclass
class LSGAN(Technique):
    """Least squares in place of the script's adversarial losses.

    Attributes:
        a: D's target for fake samples. 0, 1, 1 is the paper's Eq. 9; -1, 1, 0 its Eq. 8.
        b: D's target for real samples, above a.
        c: what G wants D to say of its samples, above a.
    """

    takes_over: ClassVar[bool] = True
    a: float = 0.0
    b: float = 1.0
    c: float = 1.0

    def check(self) -> None:
        """Refuse targets that ask G for what D calls fake."""
        finite = all(abs(value) < float("inf") for value in (self.a, self.b, self.c))
        if not (finite and self.a < self.b and self.a < self.c):
            raise UsageError(
                "technique 'lsgan': b (real) and c (what G wants) must lie above a (fake), "
                f"got a={self.a}, b={self.b}, c={self.c}; the paper takes 0, 1, 1 or -1, 1, 0"
            )

    def d_loss(self, batch: Batch) -> Tensor:
        """E (D(real) - b)^2 / 2 + E (D(fake) - a)^2 / 2."""
        real, fake = batch.critic(batch.real), batch.critic(batch.fake, like="fake")
        return least_squares_d(real=real, fake=fake, a=self.a, b=self.b)

    def g_loss(self, batch: Batch) -> Tensor:
        """E (D(fake) - c)^2 / 2."""
        return least_squares_g(fake=batch.critic(batch.fake, like="fake"), c=self.c)

    def loss_at(self, logits: Tensor, *, side: str, weight: Tensor) -> Tensor:
        """(l - target)^2 / 2 in the mean."""
        return least_squares_g(fake=logits, c={"real": self.b, "fake": self.a, "g": self.c}[side])
