"""What a metric is, and the registry that finds all of them.

A metric is a pure function from embeddings to one number. It registers itself with `@metric`, which also
records what anybody must know to read the number: which way is better, its range, the rows it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from gandiag.metrics._checks import Samples
from gandiag.registry import Registry

Function = TypeVar("Function", bound=Callable[..., float])


@dataclass(frozen=True)
class Metric:
    """One number about a pair of sample sets.

    Attributes:
        name: as it appears in reports and JSON.
        better: which way is better. It says nothing about how far is good: only the null does.
        lo: the smallest value it can take.
        hi: the largest one, `inf` where there is no bound.
        needs: the fewest rows that each set must have.
        compute: the function, called with `real=` and `fake=`.
    """

    name: str
    better: Literal["higher", "lower"]
    lo: float
    hi: float
    needs: int
    compute: Callable[..., float]

    def __call__(self, *, real: Samples, fake: Samples) -> float:
        """The value for one pair of sets, both `[n, d]`."""
        return self.compute(real=real, fake=fake)


METRICS: Registry[Metric] = Registry("metric", "gandiag.metrics")


def metric(
    name: str, *, better: Literal["higher", "lower"], lo: float, hi: float, needs: int
) -> Callable[[Function], Function]:
    """Register a function `(real=, fake=) -> float` as the metric `name`; the function itself stays as it is."""

    def decorate(function: Function) -> Function:
        METRICS.add(name, Metric(name, better, lo, hi, needs, function), home=function.__module__)
        return function

    return decorate
