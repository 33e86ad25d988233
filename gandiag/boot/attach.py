"""Attaches a watched run to this process, from what the environment says, and reports back to `gandiag run`."""

from __future__ import annotations

import atexit
import json
import os
import sys
from pathlib import Path
from typing import Any

from gandiag.errors import GandiagError

#: Which GANDIAG_ variables a child process sees.
OPTIONS, RUN_DIR, NOTES = "GANDIAG_OPTIONS", "GANDIAG_RUN_DIR", "GANDIAG_NOTES"


def attach_safely() -> None:
    """`attach`, with every error turned into one line: the user's script must run whatever gandiag does."""
    try:
        attach()
    except GandiagError as error:
        raise _refuse(error) from None
    except Exception as error:
        print(f"gandiag: not attached, the script runs unwatched: {type(error).__name__}: {error}", file=sys.stderr)


def attach() -> None:
    """Watch this process as `gandiag run` asked."""
    options: dict[str, Any] = json.loads(os.environ[OPTIONS])
    from gandiag.boot.seeds import offset_seeds
    from gandiag.watch import Run

    offset_seeds(int(options.get("seed_offset") or 0))
    run = Run(
        run_dir=os.environ[RUN_DIR],
        techniques=options.get("techniques") or (),
        command=options.get("command"),
        options=options,
        embedder=options.get("embedder") or "auto",
        refused=_refuse,
    )
    Run.attached = run
    atexit.register(_report, run, os.getpid())


def _refuse(error: GandiagError) -> SystemExit:
    """End the script: to train on without the technique that was asked for would be to answer another question."""
    if not _leave_note({"refused": str(error)}):
        print(f"gandiag: {error}", file=sys.stderr)
    return SystemExit(2)


def _report(run: Any, pid: int) -> None:
    """Say what this process was seen to do, for the message of a command that recorded nothing."""
    if os.getpid() != pid:
        return
    observer = run.observer
    unclear = run.unclear()
    _leave_note(
        {
            "optimizers": len(observer.units.optimizers()),
            "iterations": observer.iteration,
            "unclear": str(unclear) if unclear is not None else None,
        }
    )


def _leave_note(note: dict[str, Any]) -> bool:
    """Leave a note for `gandiag run`; False where nobody waits for it."""
    folder = os.environ.get(NOTES)
    if not folder or not Path(folder).is_dir():
        return False
    kind = "refused" if "refused" in note else "seen"
    path = Path(folder) / f"{os.getpid()}.{kind}.json"
    try:
        path.with_suffix(".tmp").write_text(json.dumps(note), encoding="utf-8")
        path.with_suffix(".tmp").replace(path)
    except OSError:
        return False
    return True
