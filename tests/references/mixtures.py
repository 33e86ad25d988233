"""Seeded data with known modes: the sets that the notes on metrics measured."""

from __future__ import annotations

import numpy as np


def ring(n: int, *, seed: int = 0, std: float = 0.01):
    """Eight Gaussians on a unit circle: rows [n, 2] float32 and their modes [n]."""
    rng = np.random.default_rng(seed)
    modes = rng.integers(0, 8, n)
    angles = 2 * np.pi * modes / 8
    return (np.c_[np.cos(angles), np.sin(angles)] + std * rng.normal(size=(n, 2))).astype(np.float32), modes


def grid(n: int, *, seed: int = 0, std: float = 0.05):
    """Twenty-five Gaussians on {-4, -2, 0, 2, 4}²."""
    rng = np.random.default_rng(seed)
    modes = rng.integers(0, 25, n)
    centres = np.array([(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)])
    return (centres[modes] + std * rng.normal(size=(n, 2))).astype(np.float32), modes


def mixture(n: int, d: int, *, seed: int = 0, std: float = 0.5, kept: int = 25):
    """Gaussians around the same 25 centres ~ N(0, I) for every seed; only the first `kept` of them are drawn from."""
    centres = np.random.default_rng(12345).normal(size=(25, d))
    rng = np.random.default_rng(seed)
    modes = rng.integers(0, kept, n)
    return (centres[modes] + std * rng.normal(size=(n, d))).astype(np.float32), modes
