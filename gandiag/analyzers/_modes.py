"""Which modes a snapshot lacks, and how the shares of the modes move: asked by more than one rule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from gandiag.analyzers.base import Array, Evidence

GONE = 0.1
"""A mode is missing when it gets less than this part of its fair share. "At least one sample" sees nothing: ten
modes thinned to a fortieth of their share still count as captured at 2,500 samples."""
CHANCE = 1e-3
"""...and when so few samples would be this improbable by chance, over all modes together."""
LEARNT = 0.3
"""Below this share of fakes near any mode, missing modes cannot be told from bad samples."""


def missing_modes(run: Evidence) -> NDArray[np.bool_]:
    """[S, K]: is this mode missing from that snapshot? Effect size first, chance second.

    A decent generator always differs *significantly* from its data; only a share below `GONE` of the fair one
    counts. Shares are compared among the fakes that lie near some mode, so that bad samples do not empty the modes.
    """
    fair = run.real_shares * np.maximum(run.shares.sum(axis=1, keepdims=True), LEARNT)
    counts = np.rint(run.shares * run.n_fake)
    by_chance = binom.cdf(counts, run.n_fake, fair)
    return np.asarray((run.shares < GONE * fair) & (by_chance * len(run.real_shares) < CHANCE))


def total_variation(shares: Array) -> Array:
    """[S - 1] total variation distance between consecutive rows of shares, fakes in no mode being one more mode."""
    full = np.column_stack([shares, np.maximum(0.0, 1 - shares.sum(axis=1))])
    return np.asarray(0.5 * np.abs(np.diff(full, axis=0)).sum(axis=1))
