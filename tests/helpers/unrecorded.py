"""A watched run without its recorder, where the recorder has tests of its own and costs more than the loop."""

from __future__ import annotations

from gandiag.watch import Run


def unrecorded(run: Run) -> None:
    """Take the recorder off a run that has not begun to train.

    Off both lists: a recorder that still hears of calls keeps the features of each one until it is asked for them.
    """
    run.observer.listeners.remove(run.recorder)
    run.observer.callers.clear()
