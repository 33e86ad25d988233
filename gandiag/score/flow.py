"""The order of it all: read, embed, measure, name."""

from __future__ import annotations

from math import prod
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gandiag.embed import Embedder, Embedding, fit
from gandiag.errors import ShapeError, UsageError
from gandiag.metrics import ModeTable, RealReference, assign, find_modes, mode_table
from gandiag.metrics._further import further
from gandiag.score.gather import Gathered, Progress, gather, some_of, whole
from gandiag.score.reading import judge
from gandiag.score.result import Scores, Shown, in_samples
from gandiag.score.sources import Labels, Source

SEED = 0
FEWEST = 32, 16
"""Real and generated samples that are needed: metrics take 16 of each side, and half of the real ones make the null."""
SHOWN = 2000
"""Rows of each side that are kept for figures."""
NAMED = 50
"""Names of classes that a note gives the numbers of."""
CLASSES = 0.1
"""Different labels over samples, beyond which labels that came with batches are no classes but numbers of samples."""


def score(
    *,
    real: Any,
    fake: Any,
    labels: Any = None,
    embedder: str | Embedder = "auto",
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Compare generated samples with data.

        scores = gandiag.score(real=loader, fake=(G(torch.randn(64, 128)) for _ in range(100)))
        print(scores.reading)
        scores.to_html("scores.html")

    The data are shuffled and cut in two: one half is what the fakes are held against, the other one gives the null.
    So give at least twice as many real as generated samples, where you can; of more fakes than half the data some are
    left out. Modes are looked for in all of the data.

    Each side is an array or a stream. Of a stream, and of an array on disk, only embeddings and small pictures are
    kept, so its samples need not fit into memory. Batches that are tuples or lists, as a `DataLoader` yields them, have
    the samples first; whole numbers that come second in each real batch are taken for classes, unless `labels` are
    given. They are not where there is only one of them, or more than one for each ten samples.

    An embedder is fitted to at most 4,096 real samples or 128 MiB of them, drawn at random from an array, the first
    ones of a stream: shuffle a stream. Samples that it learned from are not measured.

    Args:
        real: `[n, ...]` samples of data, a tensor or an array of any kind, or an iterable of such batches; at least
            32. A list of tensors is a list of batches. An iterable may have an attribute `notes`, sentences about what
            was done to its samples.
        fake: `[m, ...]` generated samples of the same shape, likewise; at least 16.
        labels: `[n]` class of each real sample, used as its mode: whole numbers, negative for none, or names. Without
            labels modes are found.
        embedder: a name in `gandiag.embed.EMBEDDERS`, `"auto"`, `"module:function"`, or a function from a batch
            `[b, ...]` to features `[b, d]`.
        device: where to embed and to measure, such as "cuda"; by default where the samples are.
        progress: called as `progress(done, total, what)` where what is "real", "fake", "metrics" or "modes"; total is
            None where it is not known.

    Raises:
        ShapeError: shapes differ, there are too few samples, labels do not fit, or over half of the samples are not
            finite. Fewer than that are left out, and said.
        UsageError: no such device, or real and fake on scales that cannot be compared.
        UnknownName: no such embedder.
    """
    say = progress or _silent
    place = _device(device)
    ours, theirs = Source(real, "real"), Source(fake, "fake")
    given, names = (None, []) if labels is None else _numbered(labels)
    if given is not None and ours.total is not None:
        _fitting(given, ours.total)  # said now, not after an hour of embedding
    embedding, spent, cautions = _fitted(ours, theirs, embedder, place)
    data = gather(ours, embedding, name="real", progress=say)
    made = gather(theirs, embedding, name="fake", progress=say)
    classes, of_classes = (_fitting(given, data.total), names) if given is not None else _from_batches(data)
    cautions += [*_left_out(data, "real"), *_left_out(made, "fake")]
    data = data.without(spent)
    for side, name, fewest in zip((data, made), ("real", "fake"), FEWEST, strict=True):
        if len(side.rows) < fewest:
            raise ShapeError(f"{name} has {len(side.rows)} samples to measure, and score needs at least {fewest}")

    say(0, None, "metrics")
    order = torch.from_numpy(np.random.default_rng(SEED).permutation(len(data.rows))).to(data.rows.device)
    half, held_out = order.tensor_split(2)
    reference = RealReference(real=data.rows[half], held_out=data.rows[held_out], seed=SEED)
    metrics = reference.measure(made.rows)
    metrics |= further(real=data.rows[half], held_out=data.rows[held_out], fake=made.rows, seed=SEED)
    cautions += reference.cautions(made.rows)
    say(0, None, "modes")
    modes = _modes(data, made, None if classes is None else classes[data.indices])
    return Scores(
        reading=judge(metrics, modes),
        metrics=metrics,
        modes=modes,
        embedder=embedding.name,
        reason=embedding.reason,
        notes=(*_noted(ours, theirs), *embedding.notes, *of_classes),
        cautions=tuple(cautions),
        n_real=len(data.rows),
        n_fake=len(made.rows),
        left_out={"real": data.broken, "fake": made.broken},
        real=_shown(data),
        fake=_shown(made),
    )


def _silent(done: int, total: int | None, what: str) -> None:
    pass


def _device(device: torch.device | str | None) -> torch.device | None:
    if device is None:
        return None
    try:
        place = torch.device(device)
        torch.ones(1, device=place).item()  # which "meta" cannot
    except (RuntimeError, AssertionError) as error:
        here = "cpu and cuda" if torch.cuda.is_available() else "cpu"
        raise UsageError(f"cannot compute on device {str(device)!r}; there is {here} here") from error
    return place


def _fitted(
    ours: Source, theirs: Source, embedder: str | Embedder, device: torch.device | None
) -> tuple[Embedding, Tensor, list[str]]:
    """The embedder, the real samples that it learned from, and what is suspicious about the two sides."""
    real, rows = ours.some(seed=SEED)
    fake, _ = theirs.some(seed=SEED, parts=8)
    if real.shape[1:] != fake.shape[1:]:
        raise ShapeError(
            f"a real sample has shape {list(real.shape[1:])} and a fake one {list(fake.shape[1:])}; "
            f"{_cure(tuple(real.shape[1:]), tuple(fake.shape[1:]))}"
        )
    good = whole(real)
    if not good.any():
        raise ShapeError(f"all of the first {len(real):,} real samples hold NaN or infinity; look at what made them")
    embedding = fit(real[good], embedder=embedder, device=device)
    spent = torch.from_numpy(rows)[good.cpu()][embedding.spent]
    return embedding, spent, list(embedding.cautions(fake))


def _cure(real: tuple[int, ...], fake: tuple[int, ...]) -> str:
    if prod(real) == prod(fake):
        return "reshape one of them, if their numbers are in the same order"
    if len(real) == len(fake) == 1:
        return "give both the same columns, in the same order"
    if len(real) == len(fake) == 3 and real[1:] == fake[1:]:
        return "give both as many channels: keep one of three equal ones, or average those of colours"
    return "resize or crop them alike"


def _noted(ours: Source, theirs: Source) -> list[str]:
    """What the sources say of themselves: once, where both say the same."""
    both = [note for note in ours.notes if note in theirs.notes]
    sides = (("real", ours), ("fake", theirs))
    return both + [f"{name}: {note}" for name, side in sides for note in side.notes if note not in both]


def _numbered(labels: Any) -> tuple[Labels, list[str]]:
    """Labels as whole numbers, and which names they stand for."""
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.dtype.kind == "S" or (array.dtype.kind == "O" and all(isinstance(label, str) for label in array.flat)):
        array = array.astype(str)
    if array.ndim != 1 or array.dtype.kind not in "iubU":
        raise ShapeError(
            f"labels must be [n] whole numbers or names, one a real sample, got {array.dtype} {list(array.shape)}"
        )
    if array.dtype.kind != "U" and array.dtype != np.uint64:  # which int64 does not hold
        return np.asarray(array.astype(np.int64)), []
    names, numbers = np.unique(array, return_inverse=True)
    said = ", ".join(f"{number} is {name}" for number, name in enumerate(names[:NAMED]))
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return np.asarray(numbers, dtype=np.int64), [f"classes were numbered in order: {said}{more}"]


def _fitting(labels: Labels, total: int) -> Labels:
    if len(labels) != total:
        raise ShapeError(
            f"there are {len(labels):,} labels for {total:,} real samples; give one for each, in their order"
        )
    if (labels < 0).all():
        raise ShapeError("all labels are negative, so no real sample has a class; leave labels out to have modes found")
    return labels


def _from_batches(data: Gathered) -> tuple[Labels | None, list[str]]:
    """Classes that came with the batches, if they can be classes, and what was made of them."""
    if data.labels is None:
        return None, []
    kinds = len(np.unique(data.labels))
    if kinds == 1:
        return None, [f"the labels in the batches are all {data.labels[0]}: modes were looked for instead"]
    if kinds > CLASSES * data.total:
        return None, [f"the whole numbers in the batches have {kinds:,} values: no classes, so modes were looked for"]
    return data.labels, [f"the whole numbers in the batches, of {kinds:,} values, were taken for classes"]


def _left_out(side: Gathered, name: str) -> list[str]:
    if not side.broken:
        return []
    return [
        f"{len(side.broken):,} of {side.total:,} {name} samples, or their embeddings, hold NaN or infinity and were "
        f"left out: {some_of(np.asarray(side.broken))}"
    ]


def _modes(data: Gathered, made: Gathered, classes: Labels | None) -> ModeTable | None:
    real, fake = data.rows, made.rows
    found = find_modes(real, seed=SEED) if classes is None else classes
    if found.max() < 0:
        return None
    theirs = assign(real=real, real_labels=found, fake=fake)
    source: Literal["clusters", "labels"] = "clusters" if classes is None else "labels"
    table = mode_table(real=real, real_labels=found, fake=fake, fake_labels=theirs, source=source)
    return in_samples(table, real=data.indices, fake=made.indices)


def _shown(side: Gathered) -> Shown:
    count = len(side.rows)
    rows = np.arange(count)
    if count > SHOWN:
        rows = np.sort(np.random.default_rng(SEED).choice(rows, SHOWN, replace=False))
    some = side.rows[torch.from_numpy(rows).to(side.rows.device)].float().cpu().numpy()
    pictured = side.indices[: len(side.pictures)] if side.pictures is not None else np.empty(0, dtype=np.int64)
    return Shown(rows=some, total=count, pictures=side.pictures, samples=pictured)
