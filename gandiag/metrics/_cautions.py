"""What makes metrics beside their nulls mean little, in sentences."""

from __future__ import annotations

from torch import Tensor

from gandiag.metrics.kid import rows_that_count

FEW_DECIDE = 20
"""Rows that the kernel's sum comes from (`rows_that_count`), below which the kernel distance has no p: all splits have
the same few far rows, and fakes have others. Taken as elsewhere, 10 to 25 of 100 sets of lognormal data and of
Student's t with 2 and 3 degrees of freedom (n = 300) had a p below 0.6 %."""

MANY_REPEAT, SOME_REPEAT = 0.1, 0.01
"""Share of the data that repeat another row, beyond which density has no p for the like reason, and beyond which it is
worth a word."""


def without_p(pool: Tensor, *, repeated: float) -> dict[str, str]:
    """The metrics whose null splits of the data cannot tell, as all splits share what decides it; and why.

    Args:
        pool: `[n, d]` the data, real and held-out.
        repeated: share of the data that repeat another row exactly.
    """
    found = {}
    if rows_that_count(pool) < FEW_DECIDE:
        found["kid"] = (
            f"Kernel distance: fewer than {FEW_DECIDE} rows of the data, far from all others, make nearly all of it, "
            "and other samples have other such rows; so it has no p-value. Where values have long tails, take "
            "their logarithms or ranks first."
        )
    if repeated > MANY_REPEAT:
        found["density"] = (
            "Density: it counts the copies of a row, and their number varies more from sample to sample than "
            "splits of the data can tell; so it has no p-value."
        )
    return found


def of_sizes(*, real: int, fake: int, used: int, d: int, k: int, repeated: float) -> list[str]:
    """What is wrong with the numbers of rows.

    Args:
        real: rows of real.
        fake: rows of fake.
        used: of these.
        d: dimensions.
        k: neighbour that sets the radii of balls.
        repeated: share of the data that repeat another row exactly.
    """
    found, fewest, needed = [], min(real, used), 10 * k + 10
    if fewest < 2 * d:
        found.append(
            f"Fréchet distance: {fewest:,} rows are few for {d:,} dimensions; below {2 * d:,} "
            "the covariances are mostly noise. Trust coverage and recall beside their nulls instead."
        )
    if k >= fewest / 10:
        found.append(
            f"k = {k} neighbours are many among {fewest:,} rows: balls reach across modes. Give at least {needed:,} "
            f"generated samples, and {2 * needed:,} real ones, as one half of these is held against the other."
        )
    if repeated > SOME_REPEAT:
        found.append(
            f"{repeated:.0%} of the data repeat another row exactly: balls around them have no width, and held-out "
            "data look better than they are. Remove the repetitions."
        )
    if fake > used:
        found.append(
            f"{used:,} of the {fake:,} fakes were measured, chosen at random: the null needs as many held-out "
            "reals. Give more data."
        )
    return found
