"""What the analyzers are given of a log, and what they asked for that a log cannot hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gandiag.analyzers import Evidence, Finding, Skipped
from gandiag.analyzers.base import Array

SAMPLES = "samples"

_IN_WORDS = {
    SAMPLES: "samples",
    "sample/": "samples",
    "grad/g/": "gradient norms of G",
    "grad/d/": "gradient norms of D",
    "d/": "scores of D on real and fake",
}


@dataclass(frozen=True, kw_only=True)
class LogEvidence(Evidence):
    """Evidence without snapshots that remembers what it was asked for in vain; made anew for each analyzer.

    Attributes:
        lacking: what was asked for and is not there: columns, or `SAMPLES`.
    """

    lacking: list[str] = field(default_factory=list, compare=False, repr=False)

    def column(self, name: str) -> tuple[NDArray[np.int64], Array]:
        """As `Evidence.column`."""
        steps, values = super().column(name)
        if not len(values):
            self.lacking.append(name)
        return steps, values

    def over_null(self, metric: str) -> Array:
        """As `Evidence.over_null`: always empty, a log has no metrics with nulls."""
        self.lacking.append(SAMPLES)
        return super().over_null(metric)

    def since_warm_up(self, fraction: float = 0.1) -> NDArray[np.intp]:
        """As `Evidence.since_warm_up`: always empty, a log has no snapshots."""
        self.lacking.append(SAMPLES)
        return super().since_warm_up(fraction)

    def explained(self, answers: Sequence[Finding | Skipped]) -> list[Finding | Skipped]:
        """The answers of one analyzer, with the reason of each `Skipped` said of a log instead of a recording."""
        return [
            dataclasses.replace(answer, because=self._because(answer)) if isinstance(answer, Skipped) else answer
            for answer in answers
        ]

    def _because(self, answer: Skipped) -> str:
        diversity = answer.code.startswith("GD1")  # asks for snapshots before anything else: design, "codes"
        lacks = [SAMPLES] if diversity else self.lacking
        words = list(
            dict.fromkeys(text for name in lacks for start, text in _IN_WORDS.items() if name.startswith(start))
        )
        if not words:
            return answer.because
        if {"gradient norms of D", "gradient norms of G"} <= set(words):
            words = [word for word in words if "gradient" not in word] + ["gradient norms"]
        lead = "" if not diversity else ", so nothing is known about diversity"
        return f"the log has no {', no '.join(words)}{lead}; `gandiag run -- COMMAND` records them"
