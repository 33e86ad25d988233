"""What a remediation hands back: `Remediation`, and what it leaves behind in the run directory."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gandiag.remediate.judge import RunScore
from gandiag.remediate.verify import Verification
from gandiag.rundir import RunReader

SCHEMA = "gandiag.remediation/1"
JSON_FILE = "remediation.json"


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """What one arm came to, over the trainings that it is judged on.

    Attributes:
        name: of the arm.
        techniques: `[{"name", "params"}]`.
        seeds: seed offset of each training.
        run_dirs: its run directory, in the order of the seeds.
        scores: its judgement, in the same order.
        verdict: the worst of its trainings' verdicts.
        stage: `screening` (short trainings, the arm was not chosen) or `verification` (in full).
        note: what else there is to say: why it was stopped, what the command wrote when it failed.
        verification: the comparison with the control; None for the control itself and arms not compared.
    """

    name: str
    techniques: list[dict[str, Any]]
    seeds: tuple[int, ...] = ()
    run_dirs: tuple[str, ...] = ()
    scores: tuple[RunScore, ...] = ()
    verdict: str = "undetermined"
    stage: str = "screening"
    note: str = ""
    verification: Verification | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data; each metric has its mean over the seeds and the value on each."""
        metrics = {"score": _over_seeds([score.value for score in self.scores])}
        for name in sorted({name for score in self.scores for name in score.metrics}):
            metrics[name] = _over_seeds([score.metrics.get(name) for score in self.scores])
        if self.verification is not None:
            found = self.verification
            interval = {"value": found.value, "low": found.low, "high": found.high}
            metrics["improvement"] = {**interval, "per_seed": list(found.pairs)}
        return {
            "name": self.name,
            "techniques": self.techniques,
            "seeds": list(self.seeds),
            "run_dirs": list(self.run_dirs),
            "metrics": metrics,
            "verdict": self.verdict,
            "stage": self.stage,
            "note": self.note,
        }


@dataclass(frozen=True, kw_only=True)
class Remediation:
    """The answer of a remediation.

    Attributes:
        run_dir: the run that was to be repaired.
        control: the unmodified arm.
        arms: all other arms, in the order in which they were recommended.
        winner: the arm that is verified to be better than the control, or None: then change nothing.
        command: the command line that trains the winner; without a winner, the recorded one.
        snippet: the lines that write the winner into the script; "" without one.
        message: the answer in a sentence or two.
        healthy: whether there was nothing to repair.
    """

    run_dir: str
    control: ArmResult
    arms: tuple[ArmResult, ...] = ()
    winner: ArmResult | None = None
    command: tuple[str, ...] = ()
    snippet: str = ""
    message: str = field(default="", compare=False)
    healthy: bool = False

    @property
    def verified(self) -> bool:
        """Whether an arm is shown to be better than the control."""
        return self.winner is not None

    def to_json(self) -> dict[str, Any]:
        """The contract `gandiag.remediation/1`."""
        return {
            "schema": SCHEMA,
            "control": self.control.to_json(),
            "arms": [arm.to_json() for arm in self.arms],
            "winner": None if self.winner is None else self.winner.to_json(),
            "verified": self.verified,
            "command": list(self.command),
            "snippet": self.snippet,
        }

    def write(self) -> Path:
        """Write `derived/remediation.json` into the run directory; returns its path."""
        text = json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"
        return RunReader(self.run_dir).write_derived(JSON_FILE, text)

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the self-contained report, before and after, and return where it lies."""
        report = importlib.import_module("gandiag.report.remediation")  # a higher layer: it knows us, we do not know it
        return Path(report.write(self, path))


def _over_seeds(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    return {"value": float(np.mean(known)) if known else None, "per_seed": list(values)}
