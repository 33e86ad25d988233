"""From a run directory to series of metrics, each with its null: what the analyzers judge by.

All snapshots of a run are held against one and the same reference: the real rows of all of them, pooled, made
unique, shuffled and cut in two. One half is what fakes are compared with; the other stands in for a perfect
generator and so gives the null. The modes are found once, too, in both halves together.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from gandiag import _evaluation_cache as cache
from gandiag.analyzers import Outputs, infer_loss_family
from gandiag.metrics import Measure, ModeTable, RealReference, assign, find_modes, mode_table
from gandiag.rundir import RunReader, Snapshot

Array = NDArray[np.float64]
Rows = NDArray[np.float32]
Labels = NDArray[np.int64]
Source = Literal["labels", "clusters"]

CAP = 1000
"""Rows of each side that a metric is taken over. Nulls are stable well below it; the cost grows with its square."""
MODE_ROWS = 3000
"""Real rows that the modes are found in..."""
FAKES = 2000
"""...and fakes of a snapshot that are given a mode: more than above, as small modes need the numbers."""
NARROW = 128
"""Dimensions beyond which embeddings are projected: at 512 dimensions a run takes two minutes, at 128 some seconds."""
SNAPSHOTS = 30
"""Snapshots that are measured at most, evenly chosen of those recorded (which are log-spaced), the last among them."""
FEWEST = 64
"""Rows of a half below which no metric is worth printing."""
PAIRS = 512
"""Rows whose pairwise distances are looked at."""
DRAWS_LAST, DRAWS = 200, 20
"""Bootstrap draws for the interval of the last snapshot, and of the others, which are only plotted."""
EXEMPLARS = 8
"""Real samples shown for a mode."""
POOL = 20_000
"""Different real rows that are kept at most; far more than are needed."""
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Series over the S snapshots of a run; see `gandiag.analyzers.Evidence` for the fields of the same name.

    Attributes:
        exemplars: for each mode the (step, index in `thumbs_real`) of a few real samples that have a thumbnail.
        broken: step -> share of the fakes with NaN or infinity, for the snapshots that have any. Rows that are not
            finite are left out of the series, and so is a snapshot with too few others.
        n_real: rows of the reference half.
        n_fake: fakes that were given a mode at each snapshot.
        notes: what could not be evaluated, and why, and what makes numbers mean little, in words.
    """

    steps: tuple[int, ...] = ()
    series: dict[str, tuple[Measure, ...]] = field(default_factory=dict)
    shares: Array = field(default_factory=lambda: np.zeros((0, 0)))
    real_shares: Array = field(default_factory=lambda: np.zeros(0))
    spread: Array = field(default_factory=lambda: np.zeros((0, 0)))
    captured: tuple[int, ...] = ()
    modes: ModeTable | None = None
    closeness: Array = field(default_factory=lambda: np.zeros(0))
    mode_closeness: float = float("nan")
    exemplars: tuple[tuple[tuple[int, int], ...], ...] = ()
    broken: dict[int, float] = field(default_factory=dict)
    n_real: int = 0
    n_fake: int = 0
    loss_family: str = "unknown"
    notes: tuple[str, ...] = ()


def evaluate(run: RunReader) -> Evaluation:
    """Measure every snapshot of a run; a second call on an unchanged run reads `derived/evaluation.json`.

    A run without snapshots, or with too few rows, gives an evaluation without series and a note that says so.
    """
    key = cache.fingerprint(run)
    fields = cache.load(run, key)
    if fields is not None:
        return Evaluation(**fields)
    with _one_thread():
        evaluation = _measure_all_snapshots(run)
    cache.store(run, key, {f.name: getattr(evaluation, f.name) for f in dataclasses.fields(evaluation)})
    return evaluation


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Threads only wait for each other over matrices this small: on two busy cores they took ten times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _measure_all_snapshots(run: RunReader) -> Evaluation:
    pool = _pool_reals(run)
    facts: dict[str, Any] = {"broken": pool.broken, "loss_family": infer_loss_family(pool.outputs)}
    notes = [f"a damaged snapshot was left out: {why}" for why in run.damaged]
    if not pool.fakes:
        notes.append("no snapshot with enough finite samples was recorded: nothing is known about the samples")
        return Evaluation(**facts, notes=tuple(notes))
    half = len(pool.rows) // 2
    if half < FEWEST:
        notes.append(
            f"the snapshots hold {len(pool.rows)} different real samples; it takes {2 * FEWEST} to measure anything"
        )
        return Evaluation(**facts, notes=tuple(notes))

    order = np.random.default_rng(SEED).permutation(len(pool.rows))[:MODE_ROWS]
    rows = _narrow(pool.rows[order])
    chosen = _evenly(sorted(pool.fakes), SNAPSHOTS)
    n_fake = min(FAKES, *(pool.fakes[step] for step in chosen))
    half = min(CAP, len(rows) // 2, n_fake)  # equal numbers on both sides: coverage falls with fewer fakes than reals
    real = RealReference(real=rows[:half], held_out=rows[half : 2 * half], seed=SEED)
    labels = pool.labels[order] if pool.labels is not None else find_modes(rows, seed=SEED)
    source: Source = "labels" if pool.labels is not None else "clusters"
    size = _typical_distance(rows)

    measures, tables, closeness = [], [], []
    for step in chosen:
        fake = _narrow(_some(_finite(run.snapshot(step).fake), n_fake, seed=step))
        measures.append(real.measure(fake[:half], draws=DRAWS_LAST if step == chosen[-1] else DRAWS))
        tables.append(_table(rows, labels, fake, source))
        closeness.append(_typical_distance(fake) / size if size > 0 else float("nan"))

    notes += real.cautions(fake[:half])
    known = tables[-1]
    return Evaluation(
        **facts,
        steps=tuple(chosen),
        series={name: tuple(measure[name] for measure in measures) for name in measures[-1]},
        shares=_by_mode(tables, "fake_share"),
        real_shares=_by_mode(tables, "real_share")[-1],
        spread=_by_mode(tables, "spread_ratio"),
        captured=tuple(0 if table is None else table.count_captured for table in tables),
        modes=known,
        closeness=np.array(closeness),
        mode_closeness=_mode_size(rows, labels) / size if known is not None and size > 0 else float("nan"),
        exemplars=_exemplars(known, labels, [pool.origins[index] for index in order]),
        n_real=half,
        n_fake=n_fake,
        notes=tuple(notes),
    )


@dataclass
class _Pool:
    """What a first pass over the snapshots collects.

    Attributes:
        rows: [n, d] different finite real rows.
        labels: [n] their classes, or None where any is unknown.
        origins: of each row, its step and the index of its thumbnail, negative where it has none.
        fakes: step -> number of finite fakes, for the snapshots that can be judged.
        broken: step -> share of the fakes that are not finite, where any is.
        outputs: D's outputs and gradients, for the snapshots that hold them.
    """

    rows: Rows
    labels: Labels | None
    origins: list[tuple[int, int]]
    fakes: dict[int, int]
    broken: dict[int, float]
    outputs: list[Outputs]


def _pool_reals(run: RunReader) -> _Pool:
    rows: dict[bytes, Rows] = {}
    classes: list[int] = []
    pool = _Pool(np.zeros((0, 0), dtype=np.float32), None, [], {}, {}, [])
    width = None
    for snapshot in run.snapshots():
        if width is None or snapshot.real.shape[1] != width:
            # Another embedder from here on (a resumed run with other options): the later one counts.
            width = snapshot.real.shape[1]
            rows, classes, pool.origins, pool.fakes = {}, [], [], {}
        finite = len(_finite(snapshot.fake))
        if finite < len(snapshot.fake):
            pool.broken[snapshot.step] = 1 - finite / len(snapshot.fake)
        if finite >= FEWEST and snapshot.fake.shape[1] == width:
            pool.fakes[snapshot.step] = finite
        # Thumbnails are those of the last rows.
        unseen = len(snapshot.real) - (0 if snapshot.thumbs_real is None else len(snapshot.thumbs_real))
        for index in np.flatnonzero(np.isfinite(snapshot.real).all(axis=1)):
            key = snapshot.real[index].tobytes()
            if key not in rows and len(rows) < POOL:
                rows[key] = snapshot.real[index]
                classes.append(-1 if snapshot.labels_real is None else int(snapshot.labels_real[index]))
                pool.origins.append((snapshot.step, int(index) - unseen))
        outputs = _outputs(snapshot)
        if outputs is not None:
            pool.outputs.append(outputs)
    if rows:
        pool.rows = np.stack(list(rows.values()))
        labels = np.array(classes, dtype=np.int64)
        kinds = len(np.unique(labels))
        # A label for (nearly) every row is an index or a target of regression, and no class.
        pool.labels = labels if labels.min() >= 0 and 2 <= kinds <= len(labels) / 2 else None
    return pool


def _outputs(snapshot: Snapshot) -> Outputs | None:
    """D's logits and the gradients that go with them, row by row; None where they are not recorded."""
    parts = []
    for logits, gradients in (
        (snapshot.logits_real, snapshot.cotangents_real),
        (snapshot.logits_fake, snapshot.cotangents_fake),
    ):
        if logits is None or gradients is None:
            return None
        rows = min(len(logits), len(gradients))
        known = ~np.isnan(gradients[:rows])
        parts.append((logits[:rows][known].astype(np.float64), gradients[:rows][known].astype(np.float64)))
    (real, real_gradient), (fake, fake_gradient) = parts
    return Outputs(real, fake, real_gradient, fake_gradient, snapshot.meta.get("output") == "probability")


def _narrow(rows: Rows) -> Rows:
    """The rows by a fixed random projection to `NARROW` dimensions where they are wider.

    Not by their principal components: those fit the noise of the very rows they come from, and fakes would then look
    shrunken beside them (at 512 dimensions and 3,000 rows a generator that is 10 % too wide got a density of 2.9).
    """
    width = rows.shape[1]
    if width <= NARROW:
        return rows
    matrix = np.random.default_rng(SEED + width).standard_normal((width, NARROW), dtype=np.float32)
    return np.asarray(rows @ matrix / np.sqrt(NARROW), dtype=np.float32)


def _table(rows: Rows, labels: Labels, fake: Rows, source: Source) -> ModeTable | None:
    if labels.max() < 0:
        return None
    fake_labels = assign(real=rows, real_labels=labels, fake=fake)
    return mode_table(real=rows, real_labels=labels, fake=fake, fake_labels=fake_labels, source=source)


def _by_mode(tables: list[ModeTable | None], name: str) -> Array:
    """[S, K] one field of every mode of every table; [S, 0] where no modes are known."""
    return np.array([[getattr(m, name) for m in table.modes] if table else [] for table in tables], dtype=np.float64)


def _exemplars(
    table: ModeTable | None, labels: Labels, origins: list[tuple[int, int]]
) -> tuple[tuple[tuple[int, int], ...], ...]:
    if table is None:
        return ()
    shown = [[origins[index] for index in np.flatnonzero(labels == mode.id)] for mode in table.modes]
    return tuple(tuple((step, thumb) for step, thumb in mode if thumb >= 0)[:EXEMPLARS] for mode in shown)


def _evenly(steps: list[int], most: int) -> list[int]:
    """At most so many of the steps, evenly spaced in their order, first and last included."""
    if len(steps) <= most:
        return steps
    return [steps[index] for index in np.linspace(0, len(steps) - 1, most).round().astype(int)]


def _finite(rows: Rows) -> Rows:
    return rows[np.isfinite(rows).all(axis=1)]


def _some(rows: Rows, count: int, *, seed: int = SEED) -> Rows:
    """At most `count` rows, shuffled; the same ones for the same seed."""
    return rows[np.random.default_rng(seed).permutation(len(rows))[:count]]


def _typical_distance(rows: Rows) -> float:
    """Median distance between two rows: unlike a standard deviation it does not care about a few far ones."""
    return float(np.median(pdist(_some(rows, PAIRS).astype(np.float64))))


def _mode_size(rows: Rows, labels: Labels) -> float:
    """The typical distance within a mode, as the median over the modes with at least three rows."""
    ids, counts = np.unique(labels[labels >= 0], return_counts=True)
    sizes = [_typical_distance(_some(rows[labels == mode], 64)) for mode in ids[counts >= 3]]
    return float(np.median(sizes)) if sizes else float("nan")
