"""The verb `fit`: one embedder for two sets of samples, which says what it does to them and what does not fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isfinite

import torch
from torch import Tensor

from gandiag.embed._words import times
from gandiag.embed.base import WORK, Embedder, Shape, batch_size, choose, look_up, rows
from gandiag.errors import ShapeError, UsageError

ROUNDED = 1e-3
"""Of a column's standard deviation: what rounding to float32 may move its values by before it is worth a word."""
ALONE = 0.99
"""Share of the total variance in one column of a table from which the distances see little else."""
LOOKED_AT, FEW = 4096, 32
"""Rows that the two are looked for in at most, and from which on they are."""


PIXELS, UNIT = 100.0, 1.5
"""Values from 0 to 255 that reach so far may be pixels, and values that reach no farther are those of a tanh, say."""


@dataclass(frozen=True)
class Values:
    """How the numbers of a set of samples look: their dtype, and the finite ones' range; (inf, -inf) if none is.

    Attributes:
        image: samples have two dimensions at least.
        whole: there may be pixels among the values, and all of them are whole numbers.
    """

    dtype: torch.dtype
    low: float
    high: float
    image: bool = False
    whole: bool = False

    @classmethod
    def of(cls, x: Tensor) -> Values:
        """Looks at all of the samples, some at a time."""
        low, high, whole = inf, -inf, True
        size = max(1, WORK // x[0].numel())
        for start in range(0, len(x), size):
            part = x[start : start + size]
            ends = [end.item() for end in part.aminmax()]
            if not all(isfinite(end) for end in ends):
                part = part[part.isfinite()]
                ends = [end.item() for end in part.aminmax()] if part.numel() else []
            low, high = min([low, *ends]), max([high, *ends])
            whole = whole and low >= 0 and high <= 255 and _whole(part)
        return cls(x.dtype, low, high, image=x.ndim > 2, whole=whole and high >= PIXELS)

    @property
    def width(self) -> float:
        return self.high - self.low

    def __str__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')} from {self.low:.4g} to {self.high:.4g}"


@dataclass(frozen=True, eq=False)
class Embedding:
    """An embedder that has seen the real samples, and embeds them and the fakes alike.

    Attributes:
        name: of the embedder.
        reason: why it is this one, in a sentence.
        notes: sentences about what is done to samples before they are compared, and what to beware of.
        spent: `[m]` indices of the real rows that it learned from, ascending; empty if it learned nothing. Leave them
            out of what you measure: an embedder knows the noise of the rows it learned from, and fakes would look
            shrunken beside them.
        shape: of one sample.
        values: dtype and range of the real samples.
    """

    name: str
    reason: str
    notes: tuple[str, ...]
    spent: Tensor = field(repr=False)
    shape: Shape
    values: Values
    _features: Embedder = field(repr=False)
    _work: int = field(repr=False)
    _device: torch.device | None = field(repr=False)

    def __call__(self, x: Tensor, *, batch: int | None = None) -> Tensor:
        """Embed samples, real or fake, some at a time.

        Args:
            x: [n, ...] samples of the shape that the embedder was fitted to.
            batch: how many at a time; by default so many that the embedder holds some 32 MiB. It changes no number by
                more than the rounding of float32, unless a function of yours looks at its batch as a whole.

        Returns:
            [n, d] float32, without a graph, on the device of `x` or the one that `fit` was given.

        Raises:
            ShapeError: `x` has other samples than the real ones, none at all, or the embedder lost rows.
            UsageError: one of `x` and the real samples is uint8 pixels and the other floats of at most 1.5.
        """
        _same_scale(self.values, self._values(x), by_value=False)  # of a few dark images, values alone say nothing
        if batch is not None and batch < 1:
            raise UsageError(f"batch must be at least 1, got {batch}")
        return rows(self._features, x, name=self.name, batch=batch or batch_size(self._work), device=self._device)

    def cautions(self, x: Tensor) -> tuple[str, ...]:
        """What is suspicious about samples beside the real ones: sentences, none if nothing is.

        A generator may well have another range than the data, so that is said and not refused; and nothing is ever
        rescaled, resized or clipped to make the two alike.

        Raises:
            ShapeError: `x` holds other samples than the real ones, or none.
            UsageError: one of the two is floats of at most 1.5, and the other is pixels: uint8, or numbers of 0 to 255
                and above 100 that are images, or whole ones in a table. They cannot be compared.
        """
        real, these = self.values, self._values(x)
        _same_scale(real, these, by_value=True)
        outside = max(real.low - these.low, these.high - real.high)
        if (these.width <= real.width / 2 and real.width > 0) or outside > real.width / 4:
            return (f"real values are {real}, these are {these}: make sure that both are on the same scale",)
        return ()

    def _values(self, x: Tensor) -> Values:
        _batch(x)
        if tuple(x.shape[1:]) != self.shape:
            raise ShapeError(
                f"the embedder was fitted to samples of {times(self.shape)} and these are {times(tuple(x.shape[1:]))}; "
                "resize or crop them alike"
            )
        return Values.of(x)


def _whole(x: Tensor) -> bool:
    return not x.is_floating_point() or bool((x == x.round()).all())


def fit(real: Tensor, *, embedder: str | Embedder = "auto", device: torch.device | str | None = None) -> Embedding:
    """Make an embedder ready to compare samples with these real ones.

        embedding = gandiag.embed.fit(real)
        real, fake = embedding(real), embedding(fake)

    Args:
        real: [n, ...] real samples of any kind and dtype; at least 64 for those that learn from them.
        embedder: a name in `EMBEDDERS`, `"auto"`, `"module:function"` for one of your own, or a function from a batch
            [n, ...] to features [n, d]. One of your own may have attributes `name` and `notes`. Never pass on a name
            that was read from a run directory: the module is imported.
        device: where to embed, such as "cuda"; by default where the samples are.

    Raises:
        UnknownName: no such embedder.
        MissingExtra: the embedder needs a package that is not installed.
        UsageError: the embedder needs something that is not there, such as weights on this disk.
        ShapeError: `real` is no batch, or of a shape that the embedder cannot take.
    """
    _batch(real)
    shape = tuple(real.shape[1:])
    name, reason = choose(shape) if isinstance(embedder, str) and embedder == "auto" else (embedder, "it was asked for")
    entry = look_up(name)
    place = None if device is None else torch.device(device)
    values = Values.of(real)
    fitted = entry.fit(real)
    rows(
        fitted.features, real[:2], name=entry.name, device=place
    )  # what cannot be embedded is said now, and not after an hour of sampling
    spent = fitted.spent if fitted.spent is not None else torch.empty(0, dtype=torch.int64)
    own = getattr(fitted.features, "notes", ())
    return Embedding(
        name=entry.name,
        reason=reason,
        notes=(*_taken_as(real, values), *fitted.notes, *((own,) if isinstance(own, str) else own)),
        spent=spent.sort().values.cpu(),
        shape=shape,
        values=values,
        _features=fitted.features,
        _work=fitted.work,
        _device=place,
    )


def _batch(x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise ShapeError(f"samples must be a tensor [n, ...], got {type(x).__name__}; give torch.as_tensor(x)")
    if x.ndim < 1 or x.numel() == 0:
        raise ShapeError(f"samples must be [n, ...] with at least one number a sample, got {tuple(x.shape)}")
    if x.is_complex():
        raise ShapeError("samples are complex numbers; give real ones, such as torch.view_as_real(x)")


def _same_scale(a: Values, b: Values, *, by_value: bool) -> None:
    """Refuse pixels of 0 to 255 beside those of a tanh: everything would be measured, and nothing would be true."""
    for pixels, floats in ((a, b), (b, a)):
        if not floats.dtype.is_floating_point or max(-floats.low, floats.high) > UNIT:
            continue
        # Values that stay near 0 are no pixels of another scale, but may be all that a generator has left.
        scaled = by_value and floats.high > UNIT / 3 and pixels.low >= 0 and PIXELS <= pixels.high <= 255
        if (pixels.dtype == torch.uint8 and pixels.high > 1) or (scaled and (pixels.image or pixels.whole)):
            raise UsageError(
                f"real values are {a} and these are {b}: they are not on one scale. Bring the smaller ones to 0..255, "
                "by (x + 1) * 127.5 if they lie in [-1, 1] and x * 255 if in [0, 1]"
            )


def _taken_as(real: Tensor, values: Values) -> list[str]:
    """What becomes of the numbers of samples in general, and where their distances will mislead."""
    said = [] if real.dtype == torch.float32 else [f"values, {values}, are read as float32"]
    table = real[:LOOKED_AT].reshape(min(len(real), LOOKED_AT), -1)
    exact = real.dtype in (torch.float64, torch.int64, torch.int32)
    if len(table) < FEW or not (exact or real.ndim == 2):
        return said
    table = table.double()
    deviation = table.std(dim=0).nan_to_num()
    rounding = table.abs().amax(dim=0).nan_to_num() * torch.finfo(torch.float32).eps
    lost = int(((rounding > ROUNDED * deviation) & (deviation > 0)).sum())
    if exact and lost:
        said.append(
            f"{lost} of {table.shape[1]:,} columns lie so far from 0 that float32 rounds their differences; subtract "
            "their means first"
        )
    share = deviation.square() / deviation.square().sum().clamp_min(torch.finfo(torch.float64).tiny)
    if real.ndim == 2 and table.shape[1] > 2 and share.max() > ALONE:
        said.append(
            f"column {int(share.argmax())} holds {share.max().item():.1%} of the variance, so distances see little "
            "else; bring the columns to one scale first"
        )
    return said
