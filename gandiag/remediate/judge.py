"""One number for a finished training: how much of the data its last snapshot reaches, and how truly.

    diversity = mean of  modes captured / real modes
                         mean over the modes of min(1, within-mode spread), 0 where a mode is missing
                         min(1, coverage / null coverage)
    fidelity  = min(1, precision / null precision)
    score     = F2 = 5 · fidelity · diversity / (4 · fidelity + diversity)

All parts lie in [0, 1] and are 1 for a generator as good as held-out real data. F_β is van Rijsbergen's
(1979), used on generative models by Sajjadi et al. (2018, arXiv 1806.00035); β = 2 weighs diversity twice,
because lost diversity is what a remediation is asked to repair, while fidelity keeps an arm from winning by
noise: coverage alone is blind to junk between the modes. Fréchet distance is left out on purpose: its
scale differs between data sets and it cannot say which of the two was lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gandiag.analyze import Diagnosis, analyze
from gandiag.errors import UsageError

VERDICTS = ("healthy", "undetermined", "at-risk", "unstable", "collapsed")
"""From best to worst, as in the rule that combines findings into a verdict."""

#: Half the width of a 95 % interval in standard deviations of a normal distribution.
_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Ratio:
    """A metric over its null, cut at 1, with the standard deviation that its finite sample gives it."""

    value: float
    sd: float = 0.0

    def draws(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        """[count] values that another sample from the same generator might have given."""
        return np.clip(rng.normal(self.value, self.sd, count), 0.0, 1.0)


@dataclass(frozen=True)
class RunScore:
    """The judgement of one training.

    Attributes:
        verdict: of its own diagnosis.
        value: the score in [0, 1]; 0 for a training that failed or was stopped.
        coverage, precision: over their nulls.
        modes: share of the modes captured, and mean spread within them; empty where no modes are known.
        metrics: the plain numbers behind it, for people: `modes_captured`, `modes_real`, `coverage`, ...
    """

    verdict: str
    value: float = 0.0
    coverage: Ratio = Ratio(0.0)
    precision: Ratio = Ratio(0.0)
    modes: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)

    def draws(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        """[count] scores that other samples from the same generator might have got."""
        if self.value == 0.0:
            return np.zeros(count)
        coverage = self.coverage.draws(rng, count)
        return f2((coverage + sum(self.modes)) / (1 + len(self.modes)), self.precision.draws(rng, count))


Judge = Callable[[str], RunScore]
"""From the path of a run directory to its score; tests put a cheaper one in."""


def judge(run_dir: str) -> RunScore:
    """Analyze the run directory and score its last snapshot.

    Raises:
        UsageError: if it holds no samples to be judged by.
    """
    return score(analyze(run_dir))


def score(diagnosis: Diagnosis) -> RunScore:
    """The score of a diagnosis: 0 if the last samples were not even finite, else as in `score_of`."""
    evaluation = diagnosis.evaluation
    if max(evaluation.broken, default=-1) > max(evaluation.steps, default=-1):
        # What the diagnosis measured is an earlier snapshot, from before the generator broke.
        return RunScore(diagnosis.verdict)
    return score_of(diagnosis.to_json())


def score_of(diagnosis: Mapping[str, Any]) -> RunScore:
    """The score of a diagnosis in its JSON form (`gandiag analyze --json`).

    Raises:
        UsageError: if coverage or precision were not measured: nothing says then whether another run is better.
    """
    measures = diagnosis["metrics"]
    if not {"coverage", "precision"} <= set(measures):
        raise UsageError(
            f"{diagnosis['run_dir']} holds no samples of real and fake to be judged by, so no technique can be shown "
            "to help; its blind spots, in `gandiag analyze`, say what kept them from being recorded"
        )
    coverage, precision = _ratio(measures["coverage"]), _ratio(measures["precision"])
    modes = _mode_terms(diagnosis.get("modes"))
    diversity = (coverage.value + sum(modes)) / (1 + len(modes))
    return RunScore(
        verdict=str(diagnosis["verdict"]),
        value=float(f2(np.array([diversity]), np.array([precision.value]))[0]),
        coverage=coverage,
        precision=precision,
        modes=modes,
        metrics=_plain_numbers(diagnosis),
    )


def f2(diversity: NDArray[np.float64], fidelity: NDArray[np.float64]) -> NDArray[np.float64]:
    """F_β with β = 2 of two arrays in [0, 1]; 0 where both are 0."""
    return 5 * fidelity * diversity / np.maximum(4 * fidelity + diversity, 1e-12)


def worse(verdict: str, *, than: str) -> bool:
    """Whether the first verdict is worse than the second."""
    return VERDICTS.index(verdict) > VERDICTS.index(than)


def _ratio(measure: Mapping[str, Any]) -> Ratio:
    value, null = _number(measure["value"]), _number(measure["null"])
    if not (math.isfinite(value) and null > 0):
        return Ratio(0.0)  # the fakes are not even finite
    width = _number(measure["high"]) - _number(measure["low"])
    sd = width / (2 * _NORMAL_95 * null) if width > 0 else 0.0
    return Ratio(float(np.clip(value / null, 0.0, 1.0)), sd)


def _mode_terms(table: Mapping[str, Any] | None) -> tuple[float, ...]:
    if not table or table["count_real"] < 2:
        return ()
    spreads = []
    for mode in table["modes"]:
        spread = _number(mode["spread_ratio"])
        if mode["state"] == "missing":
            spreads.append(0.0)
        elif math.isfinite(spread):
            spreads.append(min(1.0, spread))
    captured = table["count_captured"] / table["count_real"]
    return (captured, float(np.mean(spreads))) if spreads else (captured,)


def _plain_numbers(diagnosis: Mapping[str, Any]) -> dict[str, float]:
    table = diagnosis.get("modes") or {}
    counts = {"modes_captured": table.get("count_captured"), "modes_real": table.get("count_real")}
    measures = {name: measure["value"] for name, measure in diagnosis["metrics"].items()}
    return {name: value for name, each in {**counts, **measures}.items() if math.isfinite(value := _number(each))}


def _number(value: Any) -> float:
    """A float from JSON, where a number that is not finite has become None."""
    return math.nan if value is None else float(value)
