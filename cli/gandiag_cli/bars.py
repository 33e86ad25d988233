"""A progress bar on stderr for what goes through samples and then thinks."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from rich import progress as rich
from rich.console import Console

WORDS = {
    "real": "embedding real samples",
    "fake": "embedding generated samples",
    "metrics": "measuring",
    "modes": "looking at modes",
}


class SampleBar:
    """One bar at a time; nothing at all where stderr is no terminal.

    Args:
        totals: how many samples there are, by side, where that is known.
    """

    def __init__(self, totals: Mapping[str, int]) -> None:
        console = Console(stderr=True, highlight=False)
        self._totals = totals
        self._bars = rich.Progress(
            rich.TextColumn("  {task.description:28s}"),
            rich.BarColumn(),
            rich.TextColumn("{task.fields[count]}"),
            rich.TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task("reading", total=None, count="")
        self._what = ""

    def __enter__(self) -> SampleBar:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, done: int, total: int | None, what: str) -> None:
        """Move the bar; this is `score`'s `progress`."""
        total = self._totals.get(what, total)
        if what != self._what:
            self._what = what
            self._bars.reset(self._task, total=total, description=WORDS.get(what, what))
        count = f"{done:,}/{total:,}" if total else f"{done:,}" if done else ""
        self._bars.update(self._task, completed=done, total=total, count=count)
