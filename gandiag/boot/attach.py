"""Attaches a watched run to this process, from what the environment says."""

from __future__ import annotations

import atexit
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import gandiag
from gandiag.errors import GandiagError

#: Which GANDIAG_ variables a child process sees.
OPTIONS, RUN_DIR, NOTES = "GANDIAG_OPTIONS", "GANDIAG_RUN_DIR", "GANDIAG_NOTES"


def attach_safely() -> None:
    """`attach`, with every error turned into one line: the user's script must run whatever gandiag does."""
    try:
        attach()
    except GandiagError as error:
        # Asked for and impossible, such as an unknown technique: the command line checks first, so this is rare.
        print(f"gandiag: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except Exception as error:
        print(f"gandiag: not attached, the script runs unwatched: {type(error).__name__}: {error}", file=sys.stderr)


def attach() -> None:
    """Watch this process as `gandiag run` asked."""
    options: dict[str, Any] = json.loads(os.environ[OPTIONS])
    from gandiag.watch import Run

    _offset_seeds(int(options.get("seed_offset") or 0))
    run = Run(
        run_dir=os.environ[RUN_DIR],
        techniques=options.get("techniques") or (),
        command=options.get("command"),
        options=options,
        embedder=options.get("embedder") or "auto",
        refused=_refuse,
    )
    before = sys.excepthook

    def note_failure(*args: Any) -> None:
        run.fail()
        before(*args)

    sys.excepthook = note_failure
    if os.environ.get(NOTES):
        atexit.register(_leave_note, run, os.getpid())


def _refuse(error: GandiagError) -> BaseException:
    print(f"gandiag: {error}", file=sys.stderr)
    return SystemExit(2)


def _leave_note(run: Any, pid: int) -> None:
    """Say what this process was seen to do, for the message of a command that recorded nothing."""
    if os.getpid() != pid:
        return
    observer = run.observer
    unclear = run.unclear()
    note = {
        "optimizers": len(observer.units.optimizers()),
        "iterations": observer.iteration,
        "recorded": run.recorder.writer is not None,
        "unclear": str(unclear) if unclear is not None else None,
        "gandiag": gandiag.__version__,
    }
    path = Path(os.environ[NOTES]) / f"{pid}.json"
    try:
        path.write_text(json.dumps(note), encoding="utf-8")
    except OSError as error:
        print(f"gandiag: {error}", file=sys.stderr)


def _offset_seeds(offset: int) -> None:
    """Add `offset` to each seed that the script sets, so that an unmodified script trains on another seed.

    Local generators (`torch.Generator`, `numpy.random.default_rng`) keep their seeds: they are mostly data
    pipelines, and the same data for both arms of a comparison is what is wanted.
    """
    if not offset:
        return
    import numpy as np
    import torch

    def shifted(seed: Any) -> Any:
        return seed + offset if isinstance(seed, int) else seed

    def patch(home: Any, name: str) -> None:
        plain = getattr(home, name)

        def seeded(seed: Any = None, *args: Any, **kwargs: Any) -> Any:
            return plain(shifted(seed), *args, **kwargs) if seed is not None else plain(*args, **kwargs)

        setattr(home, name, seeded)

    manual = torch.manual_seed
    for home, name in ((torch, "manual_seed"), (random, "seed"), (np.random, "seed")):
        patch(home, name)
    torch.random.manual_seed = torch.manual_seed
    # A script that seeds nothing gets this one; one that does overrides it.
    manual(offset)
    np.random.seed(offset % 2**32)  # noqa: NPY002 - the stream that scripts use
    random.seed(offset)
