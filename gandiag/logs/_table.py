"""From a log to the columns that the analyzers know, and what became of each column of the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from gandiag.logs._names import Kind, meaning
from gandiag.logs.base import Log, Steps, Values

SURE = 16.0
"""Logit of a probability that a float32 rounds to 0 or 1."""
TRAILING = 3
"""Steps without a loss at the end from which GD303 takes its absence for NaN."""


@dataclass(frozen=True)
class Table:
    """The columns of a log under gandiag's names.

    Attributes:
        scalars: `"iteration"` int64 [N] ascending, and float64 [N] columns, NaN where not measured. float64, as a loss
            of 1e39 is finite in a log and infinite in float32.
        judged: the same without the losses that end before the log does: an analyzer would take their end for NaN.
        read_as: gandiag's column -> name in the log.
        unused: names of the log from which nothing is taken.
        unclear: names that have two readings.
        watched: names of which only NaN and infinity count.
        notes: how columns were read, and what is left out, in words.
    """

    scalars: Mapping[str, NDArray[np.generic]]
    judged: Mapping[str, NDArray[np.generic]]
    read_as: Mapping[str, str]
    unused: tuple[str, ...]
    unclear: tuple[str, ...]
    watched: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def last(self) -> int:
        """The last step."""
        steps = self.scalars["iteration"]
        return int(steps[-1]) if len(steps) else 0


def tabulate(log: Log) -> Table:
    """Recognise the columns of a log and put them beside each other."""
    columns: dict[str, tuple[Steps, Values]] = {}
    read_as: dict[str, str] = {}
    watched: list[tuple[Steps, Values]] = []
    parts: list[str] = []
    unclear: list[str] = []
    notes: list[str] = []
    said: dict[str, list[str]] = {}
    known = {name: (found, index) for index, name in enumerate(log.series) if (found := meaning(name)) is not None}
    probabilities = _are_probabilities(
        log.series[name].points()[1]
        for name, (found, _) in known.items()
        if found.column is not None and found.kind in ("probability", "score")
    )
    for name, (found, _) in sorted(known.items(), key=lambda item: (item[1][0].spare, item[1][1])):
        steps, values = log.series[name].points()
        watched.append((steps, values))
        if found.column is None:
            (unclear if found.kind == "unclear" else parts).append(name)
            continue
        if found.column in columns:
            notes.append(f"{name!r} was left out: {read_as[found.column]!r} is read as the same thing")
            continue
        side = "fake" if "/fake/" in found.column else "real"
        converted = _converted(found.kind, values, side=side, probabilities=probabilities)
        if converted is None:
            notes.append(f"{name!r} was left out: its values are not those of a {_SHOULD_BE[found.kind]}")
            continue
        columns[found.column], read_as[found.column] = (steps, converted[0]), name
        if converted[1]:
            said.setdefault(converted[1], []).append(repr(name))
        if found.kind == "loss" and found.spare:
            notes.append(f"{name!r} may be only a part of the loss, but no plainer name is there")
    notes += [f"{', '.join(names)}: {how}" for how, names in said.items()]
    unused = [name for name in log.series if name not in known]
    long = {name: series.stride for name, series in log.series.items() if series.stride > 1}
    if long:
        notes.append(
            f"the log is long: of {', '.join(map(repr, long))} one point is kept of up to {max(long.values())}, "
            "the one that is not finite if any is"
        )
    scalars = _beside(columns, watched)
    ended = _ended(columns, scalars["iteration"])
    notes += [
        f"{read_as[column]!r} ends at step {step:,}, before the log does at {scalars['iteration'][-1]:,}"
        for column, step in ended.items()
    ]
    judged = {column: values for column, values in scalars.items() if column not in ended}
    return Table(scalars, judged, read_as, tuple(unused), tuple(unclear), tuple(parts), tuple(notes))


_SHOULD_BE: Mapping[Kind, str] = {
    "sign": "mean sign (-1..1)",
    "accuracy": "share (0..1) or percentage",
    "norm": "norm (0 or more)",
}


def _are_probabilities(outputs: Iterable[Values]) -> bool:
    """Whether D's outputs are behind a sigmoid: decided for real and fake together, or they could not be compared."""
    together = np.concatenate([np.zeros(0), *outputs])
    together = together[np.isfinite(together)]
    return len(together) > 0 and 0 <= together.min() < together.max() <= 1


def _converted(kind: Kind, values: Values, *, side: str, probabilities: bool) -> tuple[Values, str] | None:
    """Values in gandiag's units and a note on how they were read; None where they are not what the name says."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    if kind == "probability" and not probabilities:
        return values, "read as raw outputs of D: they leave 0..1 on real or on fake, and so are no probabilities"
    if kind in ("probability", "score") and probabilities:
        outputs = np.clip(logit(np.clip(values, 0, 1)), -SURE, SURE)  # NaN stays NaN
        return outputs, "read as probabilities; the logit of the mean stands for the mean of the logits"
    if kind == "sign":
        return ((values + 1) / 2, "") if low >= -1 and high <= 1 else None
    if kind == "accuracy":
        if low < 0 or high > 100:
            return None
        shares, note = (values / 100, "read as a percentage") if high > 1 else (values, "")
        return (1 - shares, note) if side == "fake" else (shares, note)
    if kind == "norm" and low < 0:
        return None
    return values, ""


def _beside(columns: Mapping[str, tuple[Steps, Values]], watched: list[tuple[Steps, Values]]) -> dict[str, Values]:
    """One row for each step at which anything was measured; of two points at one step the later one counts."""
    steps = np.unique(np.concatenate([points for points, _ in watched])) if watched else np.zeros(0, dtype=np.int64)
    table: dict[str, Values] = {"iteration": steps}  # type: ignore[dict-item]  # the one column of whole numbers
    for name, (at, values) in columns.items():
        column = np.full(len(steps), np.nan)
        column[np.searchsorted(steps, at)] = values
        table[name] = column
    broken = np.zeros(len(steps))
    for at, values in watched:
        np.add.at(broken, np.searchsorted(steps, at), ~np.isfinite(values))
    given = table.get("numerics/nonfinite")
    if len(steps):
        table["numerics/nonfinite"] = broken + (0 if given is None else np.nan_to_num(given))
    return table


def _ended(columns: Mapping[str, tuple[Steps, Values]], steps: Values) -> dict[str, int]:
    """The losses that were not logged at the last steps, not even as NaN, and where each ended."""
    ended = {}
    for name in ("loss/d", "loss/g"):
        at = columns[name][0] if name in columns else steps[:0]
        if len(at) and (steps > at.max()).sum() >= TRAILING:
            ended[name] = int(at.max())
    return ended
