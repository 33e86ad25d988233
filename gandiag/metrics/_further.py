"""Metrics that `score` shows beside those of the pass, each with a null that needs no splits of the data.

None of them decides what is wrong: NDB sees what the mode table says in words, collisions are what `duplicates` counts,
and pair diversity hardly sees missing modes. But each says something in its own unit.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import betainc
from scipy.stats import nbinom, norm
from torch import Tensor

from gandiag.metrics._checks import Samples, two_samples
from gandiag.metrics._measure import Measure
from gandiag.metrics.diversity import distance_from_others
from gandiag.metrics.ndb import ndb
from gandiag.metrics.support import Collisions

ROWS = 2000
"""Rows of each set that are looked at, at most, at random: some two seconds at d = 512 on one core."""


def further(*, real: Samples, held_out: Samples, fake: Samples, seed: int = 0) -> dict[str, Measure]:
    """Share of bins that differ, how many different samples there are at least, and pair diversity.

    Args:
        real: embeddings of data, `[n, d]`.
        held_out: embeddings of other data, `[h, d]`.
        fake: embeddings of generated samples, `[m, d]`.
        seed: for the rows that are looked at, and the bins.

    Raises:
        ShapeError: widths differ, a set has fewer than 3 rows, or rows are not finite.
    """
    rng = np.random.default_rng(seed)
    real, held_out = two_samples(real, held_out, rows=3)
    real, fake = two_samples(real, fake, rows=3)
    real, held_out, fake = (_some(rows, rng) for rows in (real, held_out, fake))
    return {
        "ndb": _bins(real, held_out, fake, seed),
        "support": _support(real, held_out, fake),
        "pair_diversity": _diversity(real, held_out, fake),
    }


def _bins(real: Tensor, held_out: Tensor, fake: Tensor, seed: int) -> Measure:
    """In 95 % of perfect generators no bin differs, and that one does is their test together (Simes 1986)."""
    found = ndb(real=real, held_out=held_out, fake=fake, seed=seed)
    p = float(found.p_adjusted.min())
    return Measure(found.share, math.nan, math.nan, 0.0, 0.0, 0.0, len(held_out), len(fake), p)


def _support(real: Tensor, held_out: Tensor, fake: Tensor) -> Measure:
    """Collisions of data with data say how many a perfect generator would have: a negative binomial count."""
    ours, theirs = (Collisions.of(real=real, fake=rows) for rows in (held_out, fake))
    varied = max(ours.overdispersion, theirs.overdispersion)
    shape, chance = ours.pairs / varied + 0.5, ours.possible / (ours.possible + theirs.possible)
    seen = theirs.pairs / varied
    below = float(betainc(shape, seen + 1, chance))
    above = float(betainc(seen, shape, 1 - chance)) if seen else 1.0
    most, fewest = (varied * float(nbinom.ppf(q, shape, chance)) for q in (0.975, 0.025))
    usual = ours.pairs * theirs.possible / ours.possible
    null, low, high = (theirs.at_least(pairs, varied) for pairs in (usual, most, fewest))
    found = theirs.support()
    p = min(1.0, 2 * below, 2 * above)
    return Measure(found.low, found.low, found.high, null, low, high, len(real), len(fake), p)


def _diversity(real: Tensor, held_out: Tensor, fake: Tensor) -> Measure:
    """A ratio of means over pairs, whose errors follow from each row's own mean (Hoeffding 1948)."""
    ours, others, theirs = (distance_from_others(rows) for rows in (real, held_out, fake))
    typical = float(ours.mean())
    if typical == 0:
        return Measure(math.nan, math.nan, math.nan, 1.0, math.nan, math.nan, len(real), len(fake))
    value, error = float(theirs.mean()) / typical, 2 * float(theirs.std()) / len(fake) ** 0.5 / typical
    of_one = 2 * float(torch.cat([ours, others]).std()) / typical
    spread = of_one * (1 / len(real) + 1 / len(fake)) ** 0.5
    p = float(2 * norm.sf(abs(value - 1) / spread)) if spread > 0 else math.nan
    low, high = max(0.0, 1 - 1.96 * spread), 1 + 1.96 * spread
    return Measure(value, max(0.0, value - 1.96 * error), value + 1.96 * error, 1.0, low, high, len(real), len(fake), p)


def _some(rows: Tensor, rng: np.random.Generator) -> Tensor:
    if len(rows) <= ROWS:
        return rows
    return rows[torch.from_numpy(np.sort(rng.choice(len(rows), ROWS, replace=False))).to(rows.device)]
