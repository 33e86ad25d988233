"""Which modes the data have, and what the fakes do to each of them.

    labels = find_modes(real)                                    # or your own classes
    theirs = assign(real=real, real_labels=labels, fake=fake)
    table = mode_table(real=real, real_labels=labels, fake=fake, fake_labels=theirs, source="clusters")

Modes belong to the data: find them once, in real rows, and hold every set of fakes against the same ones.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, fisher_exact
from torch import Tensor

from gandiag.errors import ShapeError
from gandiag.metrics._checks import Samples, samples, two_samples
from gandiag.metrics._clusters import clusters
from gandiag.metrics._tiles import Rows, nearest
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
KEPT = 0.8  # part of a mode's rows, the central one, that its spread is taken over
FEWEST = 10  # rows of each side from which a spread is worth comparing
EXEMPLARS = 8


@dataclass(frozen=True)
class Mode:
    """One mode of the data and its fate.

    Attributes:
        id: its label.
        real_share: share of the (labelled) reals in it.
        fake_share: share of all fakes in it; with `unassigned_share` these sum to 1.
        spread_ratio: spread of the fakes within it over that of the reals; NaN with fewer than 10 rows of either.
        state: missing, shrunken, under, over, or ok; the first that holds.
        p_adjusted: of Fisher's exact test for equal shares, adjusted over all modes (Benjamini and Hochberg 1995).
        real_indices: rows of `real` nearest to its middle, to show what it looks like.
    """

    id: int
    real_share: float
    fake_share: float
    spread_ratio: float
    state: State
    p_adjusted: float
    real_indices: tuple[int, ...]


@dataclass(frozen=True)
class ModeTable:
    """All modes of the data.

    Attributes:
        count_real: how many there are.
        count_captured: how many have at least a tenth of their share, whether or not a lack is significant.
        source: whether they are the user's labels or clusters that were found.
        modes: one entry a mode, by id.
        unassigned_share: share of the fakes that are near no mode.
    """

    count_real: int
    count_captured: int
    source: Source
    modes: tuple[Mode, ...]
    unassigned_share: float

    def to_json(self) -> dict[str, Any]:
        """As plain values; a spread that is not known is None, as JSON has no NaN."""
        table = asdict(self)
        for mode in table["modes"]:
            mode["spread_ratio"] = mode["spread_ratio"] if math.isfinite(mode["spread_ratio"]) else None
        return table


def find_modes(real: Samples, *, seed: int = 0) -> NDArray[np.int64]:
    """Find the modes of data without labels; `_clusters` says how.

    Args:
        real: embeddings of data, `[n, d]`.
        seed: for the part that is clustered where n is large. No global random stream is touched.

    Returns:
        `[n]` labels 0, 1, ... from the largest mode down. Groups of under 1 % of the data (or under ten rows) are no
        mode: they are -1 if nothing joins them to one, else part of it.

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

    centre = members.mean(dim=0, dtype=torch.float64)
    a = Rows.of(fake, centre=centre, dtype=torch.float64)
    b = Rows.of(members, centre=centre, dtype=torch.float64)
    distances, neighbours = (part.cpu().numpy() for part in nearest(a, b, min(VOTERS, len(members))))
    votes = known[neighbours]
    agreement = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
    winner = agreement.argmax(axis=1)  # the first maximum: the nearest real among the most frequent mode's
    rows = np.arange(len(fake))
    mode = votes[rows, winner]
    extents = np.array([_extent(members[torch.from_numpy(known == index)]) for index in range(len(ids))])
    near = distances[rows, winner] <= REACH * extents[mode]
    return np.where(near, ids[mode], -1)


def mode_table(*, real: Samples, real_labels: Labels, fake: Samples, fake_labels: Labels, source: Source) -> ModeTable:
    """Compare reals and fakes mode by mode.

    The state follows from shares among *assigned* fakes: junk is junk, and not a lack of every mode. A share is only
    called wrong where it is significantly so. A mode both over-represented and shrunken is called shrunken.

    Args:
        real: embeddings of data, `[n, d]`.
        real_labels: `[n]` modes of the reals, negative for none.
        fake: embeddings of generated samples, `[m, d]`.
        fake_labels: `[m]` modes of the fakes, negative for none.
        source: where the modes are from.

    Raises:
        ShapeError: widths differ, rows are not finite, labels do not fit their rows, or no real has a mode.
    """
    real, fake = two_samples(real, fake)
    theirs = _labels(fake_labels, len(fake), "fake_labels")
    ours = _labels(real_labels, len(real), "real_labels")
    ids, reals = np.unique(ours[ours >= 0], return_counts=True)
    if len(ids) == 0:
        raise ShapeError("no row of real has a mode (all real_labels are negative); use find_modes or your classes")
    fakes = np.array([(theirs == mode).sum() for mode in ids])
    real_shares = reals / reals.sum()
    ratios = fakes / max(1, fakes.sum()) / real_shares
    p_adjusted = _adjusted_p(reals, fakes, len(fake))

    modes = []
    for mode, share, count, ratio, p in zip(ids, real_shares, fakes, ratios, p_adjusted, strict=True):
        here = np.flatnonzero(ours == mode)
        from_middle = _from_middle(real[torch.from_numpy(here)])
        spread_real, spread_fake = _spread(from_middle), _spread(_from_middle(fake[torch.from_numpy(theirs == mode)]))
        enough = min(len(here), count) >= FEWEST and spread_real > 0
        spread = spread_fake / spread_real if enough else math.nan
        modes.append(
            Mode(
                id=int(mode),
                real_share=float(share),
                fake_share=float(count / len(fake)),
                spread_ratio=float(spread),
                state=_state(ratio, spread, p),
                p_adjusted=float(p),
                real_indices=tuple(int(index) for index in here[np.argsort(from_middle, kind="stable")[:EXEMPLARS]]),
            )
        )
    return ModeTable(
        count_real=len(ids),
        count_captured=int((ratios >= MISSING).sum()),
        source=source,
        modes=tuple(modes),
        unassigned_share=float(1 - fakes.sum() / len(fake)),
    )


@metric("modes_captured", better="higher", lo=0.0, hi=1.0, needs=20)
def modes_captured(*, real: Samples, fake: Samples) -> float:
    """Share of the data's modes that the fakes have at least a tenth of their share in; 1 where data have one mode."""
    labels = find_modes(real)
    if labels.max() < 0:
        return math.nan
    theirs = assign(real=real, real_labels=labels, fake=fake)
    table = mode_table(real=real, real_labels=labels, fake=fake, fake_labels=theirs, source="clusters")
    return table.count_captured / table.count_real


def _state(ratio: float, spread: float, p: float) -> State:
    wrong = p < SIGNIFICANT
    if wrong and ratio < MISSING:
        return "missing"
    if spread < SHRUNKEN:
        return "shrunken"
    if wrong and ratio < UNDER:
        return "under"
    if wrong and ratio > OVER:
        return "over"
    return "ok"


def _adjusted_p(reals: NDArray[np.int64], fakes: NDArray[np.int64], total: int) -> NDArray[np.float64]:
    """Fisher's exact test for each mode, exact for the small counts that missing modes have, then adjusted."""
    of_fakes = fakes.sum() or total  # where no fake is near any mode, each mode lacks all of them
    p = [
        fisher_exact([[fake, of_fakes - fake], [real, reals.sum() - real]]).pvalue
        for real, fake in zip(reals, fakes, strict=True)
    ]
    return np.asarray(false_discovery_control(np.clip(p, 0, 1)), dtype=np.float64)


def _from_middle(rows: Tensor) -> NDArray[np.float64]:
    """Distance of each row to the coordinate-wise median, which a minority of stray rows cannot move far."""
    rows = rows.double()
    middle = rows.median(dim=0).values if len(rows) else rows.new_zeros(rows.shape[1])
    return np.asarray((rows - middle).norm(dim=1).cpu())


def _spread(distances: NDArray[np.float64]) -> float:
    """Root of the trace of the covariance, over the central rows only: some bridging junk must not hide shrinking.

    Both sides are cut alike, so that the cut cancels in their ratio.
    """
    kept = np.sort(distances)[: math.ceil(KEPT * len(distances))]
    return float(np.sqrt(np.mean(kept**2))) if len(kept) else math.nan


def _extent(rows: Tensor) -> float:
    """The distance from their mean that 95 % of the rows keep."""
    rows = rows.double()
    return float((rows - rows.mean(dim=0)).norm(dim=1).quantile(0.95))


def _labels(labels: Labels, rows: int, name: str) -> NDArray[np.int64]:
    array = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.shape != (rows,) or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ShapeError(f"{name} must hold one integer for each of {rows} rows, got {array.dtype} {list(array.shape)}")
    return array.astype(np.int64)
