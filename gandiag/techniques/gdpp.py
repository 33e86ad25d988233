"""GDPP: G matches the spectrum of the similarities within a batch, as D's features see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from gandiag.techniques.base import Batch, Card, Technique, positive, technique

#: Eigenvalues that lie closer than its root count as equal more than not; they add up to the batch size.
BROADENING = 1e-4
#: What the authors' code multiplies the eigenvalues' distance by, so that both terms are of one size.
MAGNITUDE = 1e-4


def spectrum(features: Float[Tensor, "n f"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n n"]]:
    """Eigenvalues, rising, and eigenvectors, in columns, of the cosines between all samples of a batch.

    Their values are those of `torch.linalg.eigh`. Their gradients are those of first-order perturbation theory,
    dv_i = sum_j v_j (v_j' dS v_i) / (l_i - l_j), with 1 / x broadened to x / (x^2 + BROADENING). For equal eigenvalues
    the exact one is infinite, and a batch with more samples than D has features has many eigenvalues of zero.

    Source: the kernel: Elfeki et al. 2019, arXiv:1812.00068, section 3; broadening: Liao et al. 2019, arXiv:1903.09650.
    """
    phi = functional.normalize(features, dim=1)
    kernel = phi @ phi.T
    values, vectors = torch.linalg.eigh(kernel.detach())
    change = vectors.T @ (kernel - kernel.detach()) @ vectors  # zero, with the kernel's gradient
    gaps = values - values[:, None]
    return values + change.diagonal(), vectors + vectors @ (change * gaps / (gaps.square() + BROADENING))


def standing(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """How far each eigenvector is determined at all, from 0 to 1: g^2 / (g^2 + BROADENING), g being the nearest gap.

    Of equal eigenvalues any basis of their space is as good as the solver's; it turns with the rounding of a sum.
    """
    gaps = (values - values[:, None]).abs().fill_diagonal_(torch.inf)
    return 1 / (1 + BROADENING / gaps.amin(dim=1).square())


def diversity_gap(*, real: Float[Tensor, "n f"], fake: Float[Tensor, "n f"]) -> Float[Tensor, ""]:
    """How far apart the spectra of two batches of features are, 0-dim.

    MAGNITUDE * E (l_fake - l_real)^2 - sum_i w_i |cos(v_fake_i, v_real_i)|, w being the real eigenvalues brought to
    0..1, times how far both eigenvectors are determined. The paper has the cosine itself and w alone; but the sign of
    an eigenvector is the solver's whim, and so is the whole of it where eigenvalues are equal.

    Source: Elfeki et al. 2019, arXiv:1812.00068, section 3, with the factors of the authors' code.
    """
    l_real, v_real = (part.detach() for part in spectrum(real))
    l_fake, v_fake = spectrum(fake)
    weights = (l_real - l_real[0]) / (l_real[-1] - l_real[0]).clamp_min(BROADENING)
    weights = weights * standing(l_real) * standing(l_fake.detach())
    structure = (weights * (v_real * v_fake).sum(dim=0).abs()).sum()
    return MAGNITUDE * (l_fake - l_real).square().mean() - structure


@technique(
    Card(
        name="gdpp",
        summary="Adds to G's loss how far the spectrum of a batch's similarities is from that of a real batch.",
        treats={"GD101": 0.4, "GD104": 0.3, "GD103": 0.25, "GD105": 0.2},
        source="Elfeki et al. 2019, arXiv:1812.00068, section 3",
        seams=("gradients",),
        cost=2.65,
        cautions=(
            "two eigendecompositions of batch x batch at each of G's steps: time grows with the cube of the batch, and "
            "on a GPU they wait for the device",
            "real and fake samples are matched by the order of eigenvalues, which is loose where these lie close",
        ),
        snippet="""\
def spectrum(phi):                                            # D's penultimate features of a batch
    phi = F.normalize(phi, dim=1)
    kernel = phi @ phi.T
    l, v = torch.linalg.eigh(kernel.detach())
    change, gap = v.T @ (kernel - kernel.detach()) @ v, l - l[:, None]
    return l + change.diagonal(), v + v @ (change * gap / (gap ** 2 + 1e-4))   # no infinite gradient where gap is 0

def sure(l):                                                  # how far each eigenvector is determined
    return 1 / (1 + 1e-4 / (l - l[:, None]).abs().fill_diagonal_(torch.inf).amin(1) ** 2)

l_real, v_real = (part.detach() for part in spectrum(features(x_real)))
l_fake, v_fake = spectrum(features(G(z)))                     # as many as there are real samples
share = (l_real - l_real[0]) / (l_real[-1] - l_real[0]) * sure(l_real) * sure(l_fake.detach())
gap = 1e-4 * (l_fake - l_real).square().mean() - (share * (v_real * v_fake).sum(0).abs()).sum()
loss_g = loss_g + {weight} * gap""",
    )
)
@dataclass
class GDPP(Technique):
    """GDPP, added to the script's own loss of G.

    Attributes:
        weight: above zero; the authors' code weighs it as the adversarial loss.
    """

    reads_features: ClassVar[bool] = True
    weight: float = 1.0

    def check(self) -> None:
        """Refuse weights that mean nothing."""
        positive("gdpp", weight=self.weight)

    def g_loss(self, batch: Batch) -> Tensor:
        """`weight` times the distance of the spectra of as many fake as real samples."""
        n = min(len(batch.real), len(batch.fake))  # the last batch of an epoch may be smaller
        real = batch.critic.features(batch.real[:n]).detach()
        return self.weight * diversity_gap(real=real, fake=batch.critic.features(batch.fake[:n], like="fake"))
