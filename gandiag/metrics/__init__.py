"""Pure functions from embeddings to numbers, each with its null and its interval.

    from gandiag.metrics import prdc, measure_all

    prdc(real=real, fake=fake).coverage                              # one number, hard to read alone
    measure_all(real=real, held_out=held_out, fake=fake)["coverage"]  # beside what a perfect generator would get

Inputs are embeddings, one sample a row, `[n, d]`: tensors on any device, numpy arrays or nested lists.
"""

from __future__ import annotations

from gandiag.metrics._classic import ClassicModes, classic_modes
from gandiag.metrics._latent import LatentSensitivity, latent_sensitivity, latent_sensitivity_of
from gandiag.metrics._measure import Measure, RealReference, measure_all
from gandiag.metrics._moments import Moments
from gandiag.metrics._ms_ssim import PairSimilarity, ms_ssim, pair_ms_ssim
from gandiag.metrics._pass import Comparison, RealSide
from gandiag.metrics._ranks import compare_over_ranks
from gandiag.metrics.base import METRICS, Metric, metric
from gandiag.metrics.clipped import Clipped, clipped, clipped_coverage, clipped_density
from gandiag.metrics.diversity import pair_distance, pair_diversity
from gandiag.metrics.duplicates import Duplicates, copies, duplicates
from gandiag.metrics.frechet import frechet, frechet_between
from gandiag.metrics.kid import kid, kid_of
from gandiag.metrics.modes import Mode, ModeTable, assign, find_modes, mode_table
from gandiag.metrics.ndb import NDB, ndb
from gandiag.metrics.prdc import PRDC, coverage, density, prdc, precision, recall
from gandiag.metrics.support import Support, support
from gandiag.metrics.vendi import vendi

__all__ = [
    "METRICS",
    "NDB",
    "PRDC",
    "ClassicModes",
    "Clipped",
    "Comparison",
    "Duplicates",
    "LatentSensitivity",
    "Measure",
    "Metric",
    "Mode",
    "ModeTable",
    "Moments",
    "PairSimilarity",
    "RealReference",
    "RealSide",
    "Support",
    "assign",
    "classic_modes",
    "clipped",
    "clipped_coverage",
    "clipped_density",
    "compare_over_ranks",
    "copies",
    "coverage",
    "density",
    "duplicates",
    "find_modes",
    "frechet",
    "frechet_between",
    "kid",
    "kid_of",
    "latent_sensitivity",
    "latent_sensitivity_of",
    "measure_all",
    "metric",
    "mode_table",
    "ms_ssim",
    "ndb",
    "pair_distance",
    "pair_diversity",
    "pair_ms_ssim",
    "prdc",
    "precision",
    "recall",
    "support",
    "vendi",
]
