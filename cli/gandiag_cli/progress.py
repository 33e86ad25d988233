"""Progress of a remediation on stderr: a bar for each training that runs, a line for each that ended."""

from __future__ import annotations

from types import TracebackType

from rich import progress as bars
from rich.console import Console

from gandiag.remediate.executors import Listener, Outcome
from gandiag.remediate.trials import Trial
from gandiag.report.text import visible


class Progress(Listener):
    """A listener that draws; without a terminal only the lines are written."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars = bars.Progress(
            bars.TextColumn("  {task.description:32s}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[str, bars.TaskID] = {}

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """A line of its own."""
        self._console.print(text, markup=False, soft_wrap=True)

    def started(self, trial: Trial) -> None:
        """Draw a bar."""
        self._tasks[trial.name] = self._bars.add_task(trial.name, total=trial.max_iterations)

    def progressed(self, trial: Trial, iterations: int) -> None:
        """Move the bar."""
        self._bars.update(self._tasks[trial.name], completed=iterations)

    def ended(self, outcome: Outcome) -> None:
        """Replace the bar by a line."""
        self._bars.remove_task(self._tasks.pop(outcome.trial.name))
        reason = f": {outcome.because.splitlines()[-1]}" if outcome.because else ""
        line = f"  {outcome.trial.name} {outcome.status} after {outcome.iterations:,} iterations{reason}"
        self._console.print(visible(line), markup=False, soft_wrap=True)
