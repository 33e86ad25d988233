"""The verb `analyze`: from a run directory, or from somebody else's log, to a diagnosis."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gandiag._evaluation_cache import plain
from gandiag.analyzers import ANALYZERS, Evidence, Finding, Skipped
from gandiag.errors import RunDirError
from gandiag.evaluate import Evaluation, evaluate
from gandiag.logs import Log, LogEvidence, Table, find, formats_in_words, limits, tabulate
from gandiag.metrics import Measure, ModeTable
from gandiag.recommend import Recommendation, recommend
from gandiag.rundir import RunInfo, RunReader
from gandiag.rundir.schema import INFO_FILE

SCHEMA = "gandiag.diagnosis/1"

Verdict = Literal["collapsed", "unstable", "at-risk", "undetermined", "healthy"]

NEEDED = ("GD101", "GD104")
"""A run is called healthy only where these have judged: without a word on diversity nothing is known."""


@dataclass(frozen=True)
class LoggedRun:
    """A log and its columns under gandiag's names."""

    log: Log
    table: Table


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What is wrong with a run, how sure that is, and what to turn on.

    Attributes:
        run_dir: where the run, or the log, lies.
        verdict: `collapsed`, `unstable`, `at-risk`, `undetermined` or `healthy`.
        iterations: the last iteration that was recorded.
        loss_family: what D's outputs and gradients say the loss is.
        findings: worst first.
        modes: the real modes at the last snapshot, or None where none are known.
        metrics: name -> measure at the last snapshot, with null and interval.
        skipped: the rules that could not judge, and why.
        recommendations: sets of techniques, best first.
        blind_spots: what was not seen or could not be kept, in words.
        evaluation: the whole series, for plots.
        log: what was read, where it was no run directory; then nothing is written beside it.
    """

    run_dir: str
    verdict: Verdict
    iterations: int
    loss_family: str
    findings: tuple[Finding, ...] = ()
    modes: ModeTable | None = None
    metrics: dict[str, Measure] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()
    blind_spots: tuple[str, ...] = ()
    evaluation: Evaluation = field(default_factory=Evaluation, repr=False)
    log: LoggedRun | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as `gandiag.diagnosis/1`: strict JSON, so a number that is not finite is null."""
        modes = None
        if self.modes is not None:
            public = ("id", "real_share", "fake_share", "spread_ratio", "state", "p_adjusted")
            modes = {
                "count_real": self.modes.count_real,
                "count_captured": self.modes.count_captured,
                "source": self.modes.source,
                "modes": [{name: getattr(mode, name) for name in public} for mode in self.modes.modes],
            }
        measure_fields = ("value", "low", "high", "null", "null_low", "null_high", "n_real", "n_fake")
        finding_fields = ("code", "name", "severity", "confidence", "first_step", "last_step", "message", "evidence")
        answer = plain(
            {
                "schema": SCHEMA,
                "run_dir": self.run_dir,
                "verdict": self.verdict,
                "iterations": self.iterations,
                "loss_family": self.loss_family,
                "findings": [{name: getattr(finding, name) for name in finding_fields} for finding in self.findings],
                "modes": modes,
                "metrics": {
                    name: {field: getattr(measure, field) for field in measure_fields}
                    for name, measure in self.metrics.items()
                },
                "skipped": [{"code": skipped.code, "because": skipped.because} for skipped in self.skipped],
                "recommendations": self.recommendations,
                "blind_spots": self.blind_spots,
            }
        )
        assert isinstance(answer, dict)
        return answer

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the self-contained report and return where it lies."""
        report = importlib.import_module("gandiag.report")  # a higher layer: it knows diagnoses, not the other way
        return Path(report.write_html(self, path))


def analyze(run_dir: str | os.PathLike[str]) -> Diagnosis:
    """Diagnose a run, finished or still being written, or what another logger kept of one.

    Args:
        run_dir: the directory that `watch` or `gandiag run` left; or a log: a folder of TensorBoard events, StyleGAN's
            `stats.jsonl`, a CSV of losses.

    Returns:
        The diagnosis. That of a run directory is also written to `derived/diagnosis.json` (where that cannot be done,
        `blind_spots` say so); beside a log nothing is written. A log has no samples, so its verdict is never `healthy`
        or `collapsed`.

    Raises:
        RunDirError: what is there is missing, foreign, damaged or of a newer gandiag.
    """
    path = Path(run_dir)
    if path.name == INFO_FILE or _is_there(path / INFO_FILE):
        return _of_run(RunReader(path))
    form = find(path)
    if form is not None:
        return _of_log(form.read(path))
    try:
        return _of_run(RunReader(path))
    except RunDirError as error:
        raise RunDirError(f"{error}. Logs that gandiag reads: {formats_in_words()}") from None


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _of_run(run: RunReader) -> Diagnosis:
    evaluation = evaluate(run)
    evidence = gather(run, evaluation)
    answers = [answer for analyzer in ANALYZERS for answer in analyzer(evidence)]
    findings, skipped = _sorted(answers)
    diagnosis = Diagnosis(
        run_dir=os.fspath(run.path),
        verdict=verdict(findings, skipped),
        iterations=evidence.iterations,
        loss_family=evidence.loss_family,
        findings=findings,
        modes=evaluation.modes,
        metrics={name: measures[-1] for name, measures in evaluation.series.items()},
        skipped=skipped,
        recommendations=tuple(recommend(findings, info=run.info, loss_family=evidence.loss_family)),
        blind_spots=(*run.info.blind_spots, *run.notes, *evaluation.notes),
        evaluation=evaluation,
    )
    try:
        run.write_derived("diagnosis.json", json.dumps(diagnosis.to_json(), indent=1, allow_nan=False) + "\n")
    except RunDirError as error:
        note = f"the diagnosis was not kept: {error}"
        diagnosis = dataclasses.replace(diagnosis, blind_spots=(*diagnosis.blind_spots, note))
    return diagnosis


def _of_log(log: Log) -> Diagnosis:
    table = tabulate(log)
    info = RunInfo(id="log")
    answers: list[Finding | Skipped] = []
    judged = []
    for analyzer in ANALYZERS:
        evidence = LogEvidence(info=info, iterations=table.last, scalars=table.judged)
        found = evidence.explained(analyzer(evidence))
        judged += [analyzer.code] if not any(isinstance(answer, Skipped) for answer in found) else []
        answers += found
    findings, skipped = _sorted(answers)
    return Diagnosis(
        run_dir=os.fspath(log.path),
        verdict=verdict(findings, skipped),
        iterations=table.last,
        loss_family="unknown",
        findings=findings,
        skipped=skipped,
        recommendations=tuple(recommend(findings, info=info)),
        blind_spots=limits(log, table, judged=judged),
        log=LoggedRun(log, table),
    )


def _sorted(answers: Sequence[Finding | Skipped]) -> tuple[tuple[Finding, ...], tuple[Skipped, ...]]:
    findings = sorted((answer for answer in answers if isinstance(answer, Finding)), key=_worst_first)
    return tuple(findings), tuple(answer for answer in answers if isinstance(answer, Skipped))


def gather(run: RunReader, evaluation: Evaluation) -> Evidence:
    """All that the analyzers may look at, in one place."""
    scalars = run.scalars()
    recorded = scalars["iteration"]
    shared = {f.name for f in dataclasses.fields(Evidence)} & {f.name for f in dataclasses.fields(Evaluation)}
    fields = {name: getattr(evaluation, name) for name in shared}
    if evaluation.loss_family == "unknown" and run.info.loss_family:
        fields["loss_family"] = run.info.loss_family
    return Evidence(
        info=run.info,
        iterations=max([0, *recorded[-1:].tolist(), *evaluation.steps[-1:]]),
        scalars=scalars,
        events=run.events(),
        **fields,
    )


def verdict(findings: Sequence[Finding], skipped: Sequence[Skipped]) -> Verdict:
    """One word for a run: the worst that was found, and `healthy` only where diversity could be judged."""
    critical = [finding.code for finding in findings if finding.severity == "critical"]
    if any(code.startswith("GD1") for code in critical):
        return "collapsed"
    if any(code.startswith(("GD2", "GD3")) for code in critical):
        return "unstable"
    if critical or any(finding.severity == "warning" for finding in findings):
        return "at-risk"
    if any(answer.code in NEEDED for answer in skipped):
        return "undetermined"
    return "healthy"


def _worst_first(finding: Finding) -> tuple[int, int, str]:
    severity = ("critical", "warning", "info").index(finding.severity)
    return severity, ("high", "medium", "low").index(finding.confidence), finding.code
