"""Which modes the data have, and what the fakes do to each of them.

    labels = find_modes(real)                                    # or your own classes
    theirs = assign(real=real, real_labels=labels, fake=fake)
    table = mode_table(real=real, real_labels=labels, fake=fake, fake_labels=theirs, source="clusters")

Modes belong to the data: find them once, in real rows, and hold every set of fakes against the same ones.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandiag.errors import ShapeError
from gandiag.metrics._checks import Samples, samples, two_samples
from gandiag.metrics._clusters import clusters
from gandiag.metrics._exact import apart
from gandiag.metrics._moments import mean_of
from gandiag.metrics._shares import adjusted_p, entropy, expected_hits, reverse_kl, reverse_kl_floor, wilson
from gandiag.metrics._tiles import Rows, nearest
from gandiag.metrics._within import Spread, from_middle, middle_of, middle_visits
from gandiag.metrics.base import metric

Labels: TypeAlias = NDArray[Any] | Tensor | list[int]
State: TypeAlias = Literal["ok", "missing", "under", "over", "shrunken"]
Source: TypeAlias = Literal["labels", "clusters"]

MISSING, UNDER, OVER = 0.1, 0.5, 2.0
"""Share of the fakes in a mode over its share of the reals. One sample is no sign of life: counted so, ten modes left
with a fortieth of their share would all pass as captured at n = 25,000; with a tenth as the bar none does."""

SHRUNKEN = 0.5
"""Spread within a mode, fake over real, below which it is called shrunken. Healthy GANs lose some spread."""

SIGNIFICANT = 0.05
"""Adjusted p from which on a share may be called wrong: of all modes so called, so many are called in error."""

REACH = 4.0
"""A fake is near a mode within so many times the mode's own extent. At 4, 99 % of the samples of a generator whose
modes are three times too wide are still assigned, in 2 to 512 dimensions; noise over the whole space is not."""

VOTERS = 5
FEWEST = 10  # rows of each side from which a spread is worth comparing
EXEMPLARS = 8


@dataclass(frozen=True)
class Mode:
    """One mode of the data and its fate. All intervals are 95 %.

    Attributes:
        id: its label.
        real_share: share of the (labelled) reals in it.
        fake_share: share of all fakes in it; with `unassigned_share` these sum to 1.
        spread_ratio: spread of the fakes within it over that of the reals; NaN with fewer than 10 rows of either.
        state: missing, shrunken, under, over, or ok; the first that holds.
        p_adjusted: of Fisher's exact test for equal shares, adjusted over all modes (Benjamini and Hochberg 1995).
        real_indices: rows of `real` nearest to its middle, to show what it looks like.
        fake_indices: rows of `fake` in it that are nearest to the middle of the reals.
        real_low: lower end of the real share's interval (Wilson 1927).
        real_high: upper end.
        fake_low: lower end of the fake share's interval.
        fake_high: upper end.
        spread_low: lower end of the spread ratio's interval.
        spread_high: upper end.
        middle_ratio: share of the fakes over that of the reals in the mode's central half; looked at only where less
            than half of the mode's share is left, else NaN.
    """

    id: int
    real_share: float
    fake_share: float
    spread_ratio: float
    state: State
    p_adjusted: float
    real_indices: tuple[int, ...]
    fake_indices: tuple[int, ...] = ()
    real_low: float = math.nan
    real_high: float = math.nan
    fake_low: float = math.nan
    fake_high: float = math.nan
    spread_low: float = math.nan
    spread_high: float = math.nan
    middle_ratio: float = math.nan


@dataclass(frozen=True)
class ModeTable:
    """All modes of the data.

    Attributes:
        count_real: how many there are.
        count_captured: how many are not missing, whether or not the lack is significant: they have a tenth of their
            share at least, and not at their borders alone.
        source: whether they are the user's labels or clusters that were found.
        modes: one entry a mode, by id.
        unassigned_share: share of the fakes that are near no mode.
        count_hit: how many have at least one fake, as many papers count; it sees little.
        expected_hit: how many a perfect sampler of as many samples hits.
        entropy_real: entropy of the reals' shares, in nats.
        entropy_fake: entropy of the assigned fakes' shares.
        reverse_kl: KL(fake || real) of these shares, in nats.
        reverse_kl_floor: what a perfect sampler gets for it on average at these numbers of rows.
    """

    count_real: int
    count_captured: int
    source: Source
    modes: tuple[Mode, ...]
    unassigned_share: float
    count_hit: int = 0
    expected_hit: float = math.nan
    entropy_real: float = math.nan
    entropy_fake: float = math.nan
    reverse_kl: float = math.nan
    reverse_kl_floor: float = math.nan

    def to_json(self) -> dict[str, Any]:
        """As plain values; a number that is not known, or infinite, is None, as JSON has neither."""
        table = asdict(self)
        for part in (table, *table["modes"]):
            for name, value in part.items():
                part[name] = None if isinstance(value, float) and not math.isfinite(value) else value
        return table


def find_modes(real: Samples, *, seed: int = 0) -> NDArray[np.int64]:
    """Find the modes of data without labels; `_clusters` says how.

    Args:
        real: embeddings of data, `[n, d]`.
        seed: for the part that is clustered where n is large. No global random stream is touched.

    Returns:
        `[n]` labels 0, 1, ... from the largest mode down. Groups of under 1 % of the data, or of too few rows to tell
        (under 25 of 1,000; from some 3,000 rows on the 1 % are more), are no mode: they are -1 if nothing joins them to
        one, else part of it.

    Raises:
        ShapeError: not 2-D, empty, or rows are not finite.
    """
    return clusters(samples(real, name="real"), seed=seed)


def assign(*, real: Samples, real_labels: Labels, fake: Samples) -> NDArray[np.int64]:
    """Give each fake the mode that most of its nearest reals have, if it is anywhere near that mode.

    Near means: its nearest real of that mode is within 4 times the mode's extent, which is the distance from the
    mode's mean that 95 % of its reals keep. Generous, as fakes are blurrier than data; what is left over is junk.

    Args:
        real: embeddings of data, `[n, d]`.
        real_labels: `[n]` modes of the reals; negative for none.
        fake: embeddings of generated samples, `[m, d]`.

    Returns:
        `[m]` labels, -1 for near no mode.

    Raises:
        ShapeError: widths differ, rows are not finite, or labels do not fit `real`.
    """
    real, fake = two_samples(real, fake)
    labels = _labels(real_labels, len(real), "real_labels")
    if (labels < 0).all():
        return np.full(len(fake), -1, dtype=np.int64)
    ids, known = np.unique(labels[labels >= 0], return_inverse=True)
    members = real[torch.from_numpy(labels >= 0).to(real.device)]

    centre = mean_of(members)
    a = Rows.late(fake, centre=centre, dtype=torch.float64)
    b = Rows.late(members, centre=centre, dtype=torch.float64)
    neighbours = nearest(a, b, min(VOTERS, len(members)))[1]
    votes = known[neighbours.cpu().numpy()]
    agreement = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
    winner = agreement.argmax(axis=1)  # the first maximum: the nearest real among the most frequent mode's
    rows = np.arange(len(fake))
    mode = votes[rows, winner]
    extents = np.array([_extent(members[torch.from_numpy(known == index)]) for index in range(len(ids))])
    voter = neighbours[torch.from_numpy(rows), torch.from_numpy(winner)]
    # By differences and not by products: a mode of copies has no extent, and only their copies are near it.
    distances = apart(fake, members, torch.arange(len(fake), device=fake.device), voter).cpu().numpy()
    near = distances <= REACH * extents[mode]
    return np.where(near, ids[mode], -1)


def mode_table(
    *,
    real: Samples,
    real_labels: Labels,
    fake: Samples,
    fake_labels: Labels,
    source: Source,
    held_out_labels: Labels | None = None,
) -> ModeTable:
    """Compare reals and fakes mode by mode.

    The state follows from shares among *assigned* fakes: junk is junk, and not a lack of every mode. A share is only
    called wrong where it is significantly so. A mode both over-represented and shrunken is called shrunken.

    A mode that the generator has lost seldom reads 0: some fakes of its neighbours lie over the border. So a mode is
    missing with less than a tenth of its share, and also with less than half of it if the central half of the mode has
    less than a tenth.

    Args:
        real: embeddings of data, `[n, d]`.
        real_labels: `[n]` modes of the reals, negative for none.
        fake: embeddings of generated samples, `[m, d]`.
        fake_labels: `[m]` modes of the fakes, negative for none.
        source: where the modes are from.
        held_out_labels: `[h]` modes of other reals, made as `fake_labels` were; these are then counted in the place
            of `real`. Rows that the modes were found in are fitted by them, and fakes are not.

    Raises:
        ShapeError: widths differ, rows are not finite, labels do not fit their rows, or no real has a mode.
    """
    real, fake = two_samples(real, fake)
    theirs = _labels(fake_labels, len(fake), "fake_labels")
    ours = _labels(real_labels, len(real), "real_labels")
    ids = np.unique(ours[ours >= 0])
    if len(ids) == 0:
        raise ShapeError("no row of real has a mode (all real_labels are negative); use find_modes or your classes")
    counted = ours if held_out_labels is None else _labels(held_out_labels, len(held_out_labels), "held_out_labels")
    reals, fakes = _counts(counted, ids), _counts(theirs, ids)
    if reals.sum() == 0:
        raise ShapeError("no held-out row is in a mode of real; make held_out_labels with assign, as fake_labels")

    # A mode without held-out rows counts as half a row: its ratio would be nothing over nothing.
    ratios = (fakes / max(1, fakes.sum()) / (np.maximum(reals, 0.5) / reals.sum())).tolist()
    # Where no fake is near any mode, each mode lacks all of them.
    p_adjusted = adjusted_p(reals=reals, fakes=fakes, of_fakes=int(fakes.sum()) or len(fake)).tolist()
    real_shares, fake_shares = (reals / reals.sum()).tolist(), (fakes / len(fake)).tolist()
    real_low, real_high = (end.tolist() for end in wilson(reals, int(reals.sum())))
    fake_low, fake_high = (end.tolist() for end in wilson(fakes, len(fake)))

    modes, captured = [], 0
    for index, mode in enumerate(ids.tolist()):
        here, there = np.flatnonzero(ours == mode), np.flatnonzero(theirs == mode)
        inside = _Inside.of(real=real[torch.from_numpy(here)], fake=fake[torch.from_numpy(there)], ratio=ratios[index])
        lacks = ratios[index] < MISSING or inside.middle_ratio < MISSING
        captured += not lacks
        spread, spread_low, spread_high = inside.spread
        modes.append(
            Mode(
                id=mode,
                real_share=real_shares[index],
                fake_share=fake_shares[index],
                spread_ratio=spread,
                state=_state(ratios[index], spread_high, lacks=lacks, wrong=p_adjusted[index] < SIGNIFICANT),
                p_adjusted=p_adjusted[index],
                real_indices=tuple(here[inside.reals].tolist()),
                fake_indices=tuple(there[inside.fakes].tolist()),
                real_low=real_low[index],
                real_high=real_high[index],
                fake_low=fake_low[index],
                fake_high=fake_high[index],
                spread_low=spread_low,
                spread_high=spread_high,
                middle_ratio=inside.middle_ratio,
            )
        )
    return ModeTable(
        count_real=len(ids),
        count_captured=captured,
        source=source,
        modes=tuple(modes),
        unassigned_share=float(1 - fakes.sum() / len(fake)),
        count_hit=int((fakes > 0).sum()),
        expected_hit=expected_hits(reals / reals.sum(), len(fake)),
        entropy_real=entropy(reals),
        entropy_fake=entropy(fakes),
        reverse_kl=reverse_kl(reals=reals, fakes=fakes),
        reverse_kl_floor=reverse_kl_floor(groups=len(ids), n_real=int(reals.sum()), n_fake=int(fakes.sum())),
    )


@metric("modes_captured", better="higher", lo=0.0, hi=1.0, needs=20)
def modes_captured(*, real: Samples, fake: Samples) -> float:
    """Share of the data's modes that the fakes have a tenth of their share in at least; 1 where data have one mode."""
    labels = find_modes(real)
    if labels.max() < 0:
        return math.nan
    theirs = assign(real=real, real_labels=labels, fake=fake)
    table = mode_table(real=real, real_labels=labels, fake=fake, fake_labels=theirs, source="clusters")
    return table.count_captured / table.count_real


class _Inside(NamedTuple):
    """What there is to say of the rows in one mode, in the order of `Mode`'s fields."""

    spread: tuple[float, float, float]
    middle_ratio: float
    reals: NDArray[np.int64]
    fakes: NDArray[np.int64]

    @classmethod
    def of(cls, *, real: Tensor, fake: Tensor, ratio: float) -> _Inside:
        middle = middle_of(real)
        distances, from_real = from_middle(real, middle), from_middle(fake, middle)
        spread_real, spread_fake = Spread.of(distances), Spread.of(from_middle(fake, middle_of(fake)))
        enough = min(len(real), len(fake)) >= FEWEST and spread_real.size > 0
        visited = ratio < UNDER and len(real) >= FEWEST and len(fake) > 0
        return cls(
            spread=spread_fake.over(spread_real) if enough else (math.nan, math.nan, math.nan),
            middle_ratio=ratio * middle_visits(real=real, fake=fake, distances=distances) if visited else math.nan,
            reals=np.argsort(distances, kind="stable")[:EXEMPLARS],
            fakes=np.argsort(from_real, kind="stable")[:EXEMPLARS],
        )


def _state(ratio: float, spread_high: float, *, lacks: bool, wrong: bool) -> State:
    if wrong and lacks:
        return "missing"
    if spread_high < SHRUNKEN:
        return "shrunken"
    if wrong and ratio < UNDER:
        return "under"
    if wrong and ratio > OVER:
        return "over"
    return "ok"


def _counts(labels: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([(labels == mode).sum() for mode in ids], dtype=np.int64)


def _extent(rows: Tensor) -> float:
    """The distance from their mean that 95 % of the rows keep."""
    rows = rows.double()
    return float((rows - rows.mean(dim=0)).norm(dim=1).quantile(0.95))


def _labels(labels: Labels, rows: int, name: str) -> NDArray[np.int64]:
    array = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.shape != (rows,) or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ShapeError(f"{name} must hold one integer for each of {rows} rows, got {array.dtype} {list(array.shape)}")
    return array.astype(np.int64)
