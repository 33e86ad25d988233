"""The mode counts of the papers, for comparison with their tables; `mode_table` says more and asks for less."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2
from torch import Tensor

from gandiag.errors import ShapeError, UsageError
from gandiag.metrics._checks import Samples, samples
from gandiag.metrics._shares import expected_hits
from gandiag.metrics._tiles import Rows, nearest


@dataclass(frozen=True, eq=False)
class ClassicModes:
    """What the papers count, and what a perfect sampler of as many samples would get.

    Attributes:
        captured: modes with at least one high-quality sample (VEEGAN's and PacGAN's "modes").
        hit: modes that are nearest to at least one sample, of any quality.
        of: how many modes there are.
        high_quality: share of the samples within `sigmas` standard deviations of their nearest mode, in [0, 1].
        counts: `[k]` high-quality samples of each mode.
        expected_captured: `captured` of a perfect sampler, on average, its modes being equally likely.
        expected_high_quality: `high_quality` of a perfect sampler, with modes that do not overlap.
    """

    captured: int
    hit: int
    of: int
    high_quality: float
    counts: NDArray[np.int64] = field(repr=False)
    expected_captured: float
    expected_high_quality: float


def classic_modes(fake: Samples, *, centres: Samples, std: float | Tensor, sigmas: float = 3.0) -> ClassicModes:
    """Count modes as VEEGAN (Srivastava et al. 2017, arXiv:1705.07761) and PacGAN (2018, arXiv:1712.04086) do.

    For mixtures whose isotropic Gaussian modes are known. A sample is of high quality if it is within `sigmas` standard
    deviations of the nearest centre, and a mode is captured by a single one. Both papers draw 2,500 samples.

    In many dimensions it measures nothing: within 3 standard deviations of its centre are 98.9 % of a Gaussian in 2
    dimensions, 47 % in 10, 0.002 % in 32. `expected_high_quality` says so.

    Args:
        fake: generated samples, `[m, d]`.
        centres: of the true modes, `[k, d]`.
        std: the true standard deviation along each axis, one for all modes or `[k]`.
        sigmas: so many standard deviations; 3 in the papers, and 10 for VEEGAN's 1,200-dimensional mixture.

    Raises:
        ShapeError: widths differ, a set is empty, rows are not finite, or `std` does not fit the centres.
        UsageError: `std` or `sigmas` is not positive.

    >>> found = classic_modes([[0.0], [0.2], [3.0]], centres=[[0.0], [1.0]], std=0.1)
    >>> found.captured, found.hit, found.high_quality
    (1, 2, 0.6666666666666666)
    """
    middles, fake = samples(centres, name="centres"), samples(fake, name="fake")
    k, d = middles.shape
    if fake.shape[1] != d:
        raise ShapeError(f"centres have {d} columns and fake has {fake.shape[1]}; give both in the same space")
    fake = fake.to(middles.device)
    stds = torch.as_tensor(std, dtype=torch.float64, device=middles.device)
    if stds.ndim > 0 and stds.shape != (k,):
        raise ShapeError(f"std must be one number or one for each of {k} centres, got shape {list(stds.shape)}")
    if not (bool((stds > 0).all()) and sigmas > 0 and math.isfinite(sigmas)):
        raise UsageError(f"std and sigmas must be positive, got {std} and {sigmas}")
    centre = middles.mean(dim=0, dtype=torch.float64)
    a = Rows.of(fake, centre=centre, dtype=torch.float64)
    distances, modes = nearest(a, Rows.of(middles, centre=centre, dtype=torch.float64), 1)
    good = distances[:, 0] < sigmas * stds.expand(k)[modes[:, 0]]
    counts = np.bincount(modes[:, 0][good].cpu().numpy(), minlength=k)
    within = float(chi2.cdf(sigmas**2, d))
    return ClassicModes(
        captured=int((counts > 0).sum()),
        hit=len(np.unique(modes.cpu().numpy())),
        of=k,
        high_quality=float(good.double().mean()),
        counts=counts,
        expected_captured=expected_hits(np.full(k, within / k), len(fake)),
        expected_high_quality=within,
    )
