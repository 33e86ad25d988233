"""What an analyzer is given (`Evidence`), what it answers with (`Finding`, `Skipped`), and where it is kept.

A rule is a generator function:

    @analyzer("GD104", name="point-collapse")
    def point_collapse(run: Evidence) -> Iterator[Finding | Skipped]:
        if not run.steps:
            yield Skipped(because="no snapshot was recorded")
        elif run.closeness[-1] < 0.1:
            yield Finding(severity="critical", confidence="high", first_step=..., ...)

Code and name are filled in from the decorator. A rule that yields nothing has judged, and found nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gandiag.metrics import Measure, ModeTable
from gandiag.registry import Registry
from gandiag.rundir import RunInfo

Severity = Literal["info", "warning", "critical"]
Confidence = Literal["low", "medium", "high"]
Array = NDArray[np.float64]

HEALTHY_CAPTURED = 0.9
"""A snapshot counts as healthy when it holds at least this share of the real modes..."""
HEALTHY_COVERAGE = 0.5
"""...and its coverage is at least this share of what held-out real data reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong (or, at severity `info`, worth knowing) with a run.

    Attributes:
        code: `GDnnn`, from the decorator.
        name: the code in words, from the decorator.
        severity: `critical` when the run is not usable as it is, `warning` when it may become so.
        confidence: how sure the rule is that it names the right thing.
        first_step: the iteration where it began, as well as the recording can tell.
        last_step: the last iteration at which it was seen.
        message: one sentence for a person, with the numbers that matter.
        evidence: the numbers behind it; plain values, lists and dicts only.
    """

    severity: Severity
    confidence: Confidence
    first_step: int
    last_step: int
    message: str
    evidence: dict[str, Any]
    code: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A rule that could not judge, and why. Silence never means healthy."""

    because: str
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything a rule may look at. All arrays with a leading `S` have one entry for each snapshot.

    Attributes:
        info: what `run.json` says.
        iterations: the last iteration that was recorded.
        scalars: `"iteration"` int64 [N] ascending, and float32 [N] columns, NaN where not measured.
        events: the lines of `events.jsonl`.
        steps: iteration of each snapshot, ascending.
        series: metric name -> S measures, each with its null.
        shares: [S, K], the share of the fakes in each real mode (a row sums to less than 1: some are in none).
        real_shares: [K], the share of the real rows in each mode.
        spread: [S, K], within-mode spread of the fakes over that of the reals, NaN where too few fakes.
        captured: number of modes captured at each snapshot.
        modes: the table of the last snapshot, or None where no modes are known.
        closeness: [S], median distance between two fakes over that between two reals; 1 is right, 0 is one point.
        mode_closeness: the same number for two reals *of one mode* (the size of a mode); NaN without modes.
        broken: step -> share of the fakes with NaN or infinity, for the snapshots that have any.
        loss_family: `bce`, `hinge`, `wasserstein`, `least-squares`, `relativistic` or `unknown`.
        n_fake: fakes that were given a mode at each snapshot.
    """

    info: RunInfo
    iterations: int
    scalars: Mapping[str, NDArray[Any]]
    events: Sequence[Mapping[str, Any]] = ()
    steps: tuple[int, ...] = ()
    series: Mapping[str, tuple[Measure, ...]] = field(default_factory=dict)
    shares: Array = field(default_factory=lambda: np.zeros((0, 0)))
    real_shares: Array = field(default_factory=lambda: np.zeros(0))
    spread: Array = field(default_factory=lambda: np.zeros((0, 0)))
    captured: tuple[int, ...] = ()
    modes: ModeTable | None = None
    closeness: Array = field(default_factory=lambda: np.zeros(0))
    mode_closeness: float = float("nan")
    broken: Mapping[int, float] = field(default_factory=dict)
    loss_family: str = "unknown"
    n_fake: int = 0

    def column(self, name: str) -> tuple[NDArray[np.int64], Array]:
        """The finite values of one scalar column and their iterations; both empty where nothing was measured."""
        values = np.asarray(self.scalars.get(name, ()), dtype=np.float64)
        iterations = np.asarray(self.scalars.get("iteration", ()), dtype=np.int64)
        if len(values) != len(iterations):
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        finite = np.isfinite(values)
        return iterations[finite], values[finite]

    def values(self, metric: str) -> Array:
        """[S] values of a metric; empty where it was not computed."""
        return np.array([measure.value for measure in self.series.get(metric, ())], dtype=np.float64)

    def over_null(self, metric: str) -> Array:
        """[S] values of a metric divided by what held-out real data reach (1 is as good as the data)."""
        ratios = [m.value / m.null if m.null > 0 else float("nan") for m in self.series.get(metric, ())]
        return np.array(ratios, dtype=np.float64)

    def since_warm_up(self, fraction: float = 0.1) -> NDArray[np.intp]:
        """Indices of the snapshots after the first `fraction` of the run: before it, every GAN is still bad."""
        steps = np.asarray(self.steps)
        return np.flatnonzero(steps >= fraction * max(self.iterations, 1))

    def last_healthy(self, before: int) -> int | None:
        """Step of the last snapshot earlier than iteration `before` on which nothing was missing, or None."""
        count = len(self.real_shares)
        coverage = self.over_null("coverage")
        for index in reversed(range(len(self.steps))):
            if self.steps[index] >= before:
                continue
            complete = count == 0 or self.captured[index] >= HEALTHY_CAPTURED * count
            covers = index >= len(coverage) or not coverage[index] < HEALTHY_COVERAGE
            if complete and covers and self.steps[index] not in self.broken:
                return self.steps[index]
        return None


@dataclass(frozen=True)
class Analyzer:
    """One rule with its code; call it with the evidence."""

    code: str
    name: str
    rule: Callable[[Evidence], Iterator[Finding | Skipped]]

    @property
    def summary(self) -> str:
        """The first line of the rule's docstring."""
        return (self.rule.__doc__ or "").strip().split("\n")[0]

    def __call__(self, run: Evidence) -> list[Finding | Skipped]:
        """Apply the rule."""
        return [
            dataclasses.replace(answer, code=self.code, name=self.name)
            if isinstance(answer, Finding)
            else dataclasses.replace(answer, code=self.code)
            for answer in self.rule(run)
        ]


ANALYZERS: Registry[Analyzer] = Registry("analyzer", "gandiag.analyzers")


def analyzer(code: str, *, name: str) -> Callable[[Callable[[Evidence], Iterator[Finding | Skipped]]], Analyzer]:
    """Register a rule under its code; `name` is the code in words, with dashes."""

    def decorate(rule: Callable[[Evidence], Iterator[Finding | Skipped]]) -> Analyzer:
        made = Analyzer(code, name, rule)
        ANALYZERS.add(code, made, home=rule.__module__)
        return made

    return decorate
