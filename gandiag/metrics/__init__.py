"""Pure functions from embeddings to numbers, each with its null and its interval.

    from gandiag.metrics import prdc, measure_all

    prdc(real=real, fake=fake).coverage                              # one number, hard to read alone
    measure_all(real=real, held_out=held_out, fake=fake)["coverage"]  # beside what a perfect generator would get

Inputs are embeddings, one sample a row, `[n, d]`: tensors on any device, numpy arrays or nested lists.
"""

from __future__ import annotations

from gandiag.metrics._measure import Measure, RealReference, measure_all
from gandiag.metrics.base import METRICS, Metric, metric
from gandiag.metrics.duplicates import Duplicates, copies, duplicates
from gandiag.metrics.frechet import frechet
from gandiag.metrics.kid import kid
from gandiag.metrics.modes import Mode, ModeTable, assign, find_modes, mode_table
from gandiag.metrics.prdc import PRDC, coverage, density, prdc, precision, recall
from gandiag.metrics.vendi import vendi

__all__ = [
    "METRICS",
    "PRDC",
    "Duplicates",
    "Measure",
    "Metric",
    "Mode",
    "ModeTable",
    "RealReference",
    "assign",
    "copies",
    "coverage",
    "density",
    "duplicates",
    "find_modes",
    "frechet",
    "kid",
    "measure_all",
    "metric",
    "mode_table",
    "prdc",
    "precision",
    "recall",
    "vendi",
]
