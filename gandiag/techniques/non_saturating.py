"""The non-saturating loss: G maximises log D(fake) in place of minimising log(1 - D(fake))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from gandiag.techniques.base import Batch, Card, Technique, technique


def cross_entropy_d(*, real: Float[Tensor, ...], fake: Float[Tensor, ...]) -> Float[Tensor, ""]:
    """D's loss, -E log sigmoid(D(real)) - E log(1 - sigmoid(D(fake))), 0-dim, from logits.

    Written with softplus, which neither overflows nor loses the gradient of a logit far from zero.
    Source: Goodfellow et al. 2014, arXiv:1406.2661, Eq. 1.
    """
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def non_saturating_g(*, fake: Float[Tensor, ...]) -> Float[Tensor, ""]:
    """G's loss, -E log sigmoid(D(fake)), 0-dim; same source, section 3.

    Its slope in a logit l is -sigmoid(-l), so it is steepest, at one, where D is surest that the sample is fake; the
    minimax loss E log(1 - sigmoid(l)) has -sigmoid(l) there, which is nothing.
    """
    return functional.softplus(-fake).mean()


@technique(
    Card(
        name="non_saturating",
        summary="Replaces both losses by cross-entropy with the non-saturating loss of G, in place of minimax.",
        treats={"GD201": 0.45},
        source="Goodfellow et al. 2014, arXiv:1406.2661, section 3",
        seams=("gradients",),
        cost=1.45,
        cautions=(
            "changes nothing where G's loss is cross-entropy with the target 1, which is this loss already",
            "drops modes more than minimax does: it cures a G that does not learn, not one that lacks variety",
            "the losses that the script prints no longer say what is trained",
        ),
        conflicts=("label_smoothing",),
        snippet="""\
loss_d = F.softplus(-D(x_real)).mean() + F.softplus(D(x_fake.detach())).mean()   # logits; D's step
loss_g = F.softplus(-D(G(z))).mean()                                             # G's step""",
    )
)
@dataclass
class NonSaturating(Technique):
    """Cross-entropy with G's non-saturating loss in place of the script's adversarial losses; no parameters."""

    takes_over: ClassVar[bool] = True

    def d_loss(self, batch: Batch) -> Tensor:
        """E softplus(-D(real)) + E softplus(D(fake))."""
        return cross_entropy_d(real=batch.critic(batch.real), fake=batch.critic(batch.fake, like="fake"))

    def g_loss(self, batch: Batch) -> Tensor:
        """E softplus(-D(fake))."""
        return non_saturating_g(fake=batch.critic(batch.fake, like="fake"))

    def loss_at(self, logits: Tensor, *, side: str, weight: Tensor) -> Tensor:
        """softplus(l) of fake samples in D's step, softplus(-l) else, in the mean."""
        return functional.softplus(logits if side == "fake" else -logits).mean()
