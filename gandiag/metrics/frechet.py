"""Fréchet distance between two Gaussians fitted to the embeddings.

Source: Heusel et al. 2017, arXiv:1706.08500, Eq. 6 (there with Inception features: FID), after Dowson and Landau 1982.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from gandiag.errors import ShapeError
from gandiag.metrics._checks import Samples, two_samples
from gandiag.metrics._moments import Moments, moments
from gandiag.metrics._spectral import covariance_root, nuclear_norm
from gandiag.metrics.base import metric


@metric("frechet", better="lower", lo=0.0, hi=float("inf"), needs=2)
def frechet(*, real: Samples, fake: Samples) -> float:
    """`|μr - μf|² + tr(Σr + Σf - 2 (Σr Σf)^½)`, squared as in FID, in float64.

    Biased upwards for few rows, about like 1/n: between two halves of one data set at d = 512 it is 83 for n = 500
    and 10 for n = 4000. Compare only numbers of equal n, m and embedding. It cannot tell missing modes from blur.

    Args:
        real: embeddings of data, `[n, d]`.
        fake: embeddings of generated samples, `[m, d]`.

    Returns:
        At least 0; lower is better.

    Raises:
        ShapeError: widths differ, a set has fewer than 2 rows, or rows are not finite, or beyond 1e70.

    >>> frechet(real=[[0.0], [2.0]], fake=[[3.0], [5.0]])
    9.0
    """
    real, fake = two_samples(real, fake, rows=2)
    return frechet_to(Gaussian.of(real), fake)


def frechet_between(*, real: Moments, fake: Moments) -> float:
    """The same distance from moments alone, for rows that come in batches or lie on several ranks.

    Args:
        real: moments of data, of at least 2 rows.
        fake: moments of generated samples, of at least 2 rows.

    Returns:
        At least 0; equal to `frechet` of the rows themselves.

    Raises:
        ShapeError: widths differ, or there are fewer than 2 rows.

    >>> batches = [[[0.0], [2.0]], [[4.0]]]
    >>> frechet_between(real=Moments.over(batches), fake=Moments.of([[3.0], [5.0], [7.0]]))
    9.0
    """
    if len(real.origin) != len(fake.origin):
        widths = f"real has {len(real.origin)} columns and fake has {len(fake.origin)}"
        raise ShapeError(f"{widths}; both must come from the same embedder")
    return _distance(Gaussian.of_moments(real), Gaussian.of_moments(fake))


LARGEST = 1e70
"""Values beyond which products of covariances leave float64."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """One side of the distance, made once where many sets are held against the same data."""

    mean: Float[Tensor, " d"]
    root: Float[Tensor, "d r"]
    trace: Float[Tensor, ""]

    @classmethod
    def of(cls, x: Tensor) -> Gaussian:
        """Fit to rows `[n, d]`; centring before the product is what keeps off-centre embeddings exact."""
        if max(abs(end.item()) for end in x.aminmax()) > LARGEST:
            raise ShapeError(
                f"values beyond {LARGEST:g} have covariances that no number holds; bring them to a scale near 1"
            )
        if len(x) > x.shape[1]:
            return cls.of_moments(moments(x))
        rows = x.double()
        mean = rows.mean(dim=0)
        root = (rows - mean).T / (len(rows) - 1) ** 0.5  # a root already, and a smaller one than the covariance has
        return cls(mean, root, root.square().sum())

    @classmethod
    def of_moments(cls, known: Moments) -> Gaussian:
        """Fit to rows of which only the moments are known."""
        covariance = known.covariance
        return cls(known.mean, covariance_root(covariance), covariance.trace())


def frechet_to(real: Gaussian, fake: Tensor) -> float:
    """The distance between a fitted Gaussian and rows `[m, d]`."""
    return _distance(real, Gaussian.of(fake))


def _distance(real: Gaussian, fake: Gaussian) -> float:
    """With `Σr = A Aᵀ` and `Σf = B Bᵀ` the trace of `(Σr Σf)^½` is the sum of the singular values of `Bᵀ A`."""
    shared = nuclear_norm(fake.root.T @ real.root)
    distance = (real.mean - fake.mean).square().sum() + real.trace + fake.trace - 2 * shared
    return max(0.0, float(distance))  # equal sets end a rounding below 0
