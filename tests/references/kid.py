"""Unbiased squared MMD with the cubic kernel, as three explicit double sums."""

from __future__ import annotations


def kernel(x, y) -> float:
    return (sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3


def kid(real, fake) -> float:
    n, m = len(real), len(fake)
    within_real = sum(kernel(real[i], real[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_fake = sum(kernel(fake[i], fake[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    between = sum(kernel(r, f) for r in real for f in fake) / (n * m)
    return within_real + within_fake - 2 * between
