"""The run directory: how a recorded run lies on disk, and the only way in which gandiag's parts hand it on.

`RunWriter` records; everything after it (metrics, analyzers, reports) reads through `RunReader`. The format is
described in `docs/reference/run-directory.md`.
"""

from __future__ import annotations

from gandiag.rundir.export import export
from gandiag.rundir.reader import RunReader
from gandiag.rundir.schema import SCHEMA, RunInfo
from gandiag.rundir.snapshots import Snapshot
from gandiag.rundir.writer import RunWriter, default_path

__all__ = ["SCHEMA", "RunInfo", "RunReader", "RunWriter", "Snapshot", "default_path", "export"]
