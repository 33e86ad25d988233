"""Mean distance of two rows, one pair after the other."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np


def pair_distance(x) -> float:
    x = np.asarray(x, dtype=np.float64)
    distances = [math.dist(a, b) for a, b in combinations(x.tolist(), 2)]
    return math.fsum(distances) / len(distances)
