"""What the figures and tables of a report draw: the diagnosis as plain data, and the run's own series."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gandiag.report.words import techniques_text

if TYPE_CHECKING:
    from gandiag.analyze import Diagnosis, LoggedRun
    from gandiag.rundir import RunInfo, Snapshot

Json = Mapping[str, Any]


@dataclass(frozen=True)
class View:
    """One run, ready to be drawn.

    Attributes:
        diagnosis: `Diagnosis.to_json()`.
        command: the recorded command line, where the run has one.
        facts: what to say about the run itself, as (name, value).
        scalars: `"iteration"` int64 [N] and float32 [N] columns, NaN where not measured.
        steps: iteration of each of the S snapshots.
        series: metric name -> S measures as plain data, each with its null.
        captured: number of modes captured at each snapshot; empty where no modes are known.
        snapshot: the last one that can be read.
        recorded: gandiag recorded the run, so there is a run directory; False for somebody else's log.
        counted: what the steps of the run count.
    """

    diagnosis: Json
    command: Sequence[str] | None = None
    facts: Sequence[tuple[str, str]] = ()
    scalars: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    steps: Sequence[int] = ()
    series: Mapping[str, Sequence[Json]] = field(default_factory=dict)
    captured: Sequence[int] = ()
    snapshot: Snapshot | None = None
    recorded: bool = True
    counted: str = "iterations"

    @property
    def iterations(self) -> int:
        """The last iteration of the run."""
        return int(self.diagnosis.get("iterations") or 0)

    def has(self, column: str) -> bool:
        """Whether a scalar column holds anything but NaN."""
        values = self.scalars.get(column)
        return values is not None and len(values) > 0 and bool(np.any(~np.isnan(np.asarray(values, dtype=np.float64))))

    def column(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Iterations and values of one scalar column, float64 [N] each."""
        return (
            np.asarray(self.scalars["iteration"], dtype=np.float64),
            np.asarray(self.scalars[name], dtype=np.float64),
        )


def load(diagnosis: Diagnosis) -> View:
    """Gather what belongs to `diagnosis` from its run directory, or from the log that it was made from.

    Raises:
        RunDirError: if the run directory can no longer be read.
    """
    from gandiag.errors import RunDirError
    from gandiag.rundir import RunReader

    data = diagnosis.to_json()
    if diagnosis.log is not None:
        return View(
            diagnosis=data,
            facts=_log_facts(diagnosis.log),
            scalars=diagnosis.log.table.scalars,
            recorded=False,
            counted=diagnosis.log.log.axis,
        )
    run = RunReader(diagnosis.run_dir)
    evaluation = diagnosis.evaluation
    last = None
    for step in reversed(run.snapshot_steps()):
        try:
            last = run.snapshot(step)
            break
        except RunDirError:
            continue  # damaged: the evaluation's notes say so, and the one before it is shown
    return View(
        diagnosis=data,
        command=run.info.command,
        facts=_facts(run.info),
        scalars=run.scalars(),
        steps=evaluation.steps,
        series={name: [dataclasses.asdict(m) for m in measures] for name, measures in evaluation.series.items()},
        captured=evaluation.captured if evaluation.modes is not None else (),
        snapshot=last,
    )


def _log_facts(logged: LoggedRun) -> list[tuple[str, str]]:
    """What was read of a log, and as what."""
    from gandiag.logs import read_as

    log = logged.log
    return [
        ("log", str(log.path)),
        ("format", log.title),
        ("counted in", log.axis),
        ("read", "; ".join(read_as(logged.table))),
    ]


def _facts(info: RunInfo) -> list[tuple[str, str]]:
    """What a reader wants to know of the run itself; what is not recorded is left out."""
    roles = [
        (name, f"{', '.join(map(str, role.get('classes', [])))} ({role.get('parameters', 0):,} parameters)")
        for name, role in info.roles.items()
    ]
    facts = [
        ("command", shlex.join(info.command) if info.command else "a script that called gandiag.watch"),
        ("started", info.created.replace("T", " ")[:19]),
        ("status", info.status),
        *roles,
        ("techniques", techniques_text(info.techniques)),
        ("device", info.device or ""),
        ("versions", ", ".join(f"{name} {version}" for name, version in info.versions.items())),
        ("git commit", info.git_commit or ""),
        ("parent run", info.parent or ""),
    ]
    return [(name, value) for name, value in facts if value]
