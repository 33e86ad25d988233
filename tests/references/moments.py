"""Mean and scatter matrix in exact rational arithmetic: what no order of summation can get wrong."""

from __future__ import annotations

from fractions import Fraction

import numpy as np


def moments(x) -> tuple[list[Fraction], list[list[Fraction]]]:
    rows = [[Fraction(value) for value in row] for row in np.asarray(x, dtype=np.float64).tolist()]
    d = len(rows[0])
    mean = [sum(row[j] for row in rows) / len(rows) for j in range(d)]
    scatter = [[sum((r[i] - mean[i]) * (r[j] - mean[j]) for r in rows) for j in range(d)] for i in range(d)]
    return mean, scatter
