"""Watching a training loop: the observer, the probes and the techniques, put together."""

from __future__ import annotations

import atexit
import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import gandiag
from gandiag.embed import Embedder, embed, refuse_unfit_for_loops
from gandiag.errors import GandiagError
from gandiag.interventions import Interventions
from gandiag.loop import Observer
from gandiag.loop.roles import question
from gandiag.probes import Recorder
from gandiag.probes._blind_spots import blind_spots
from gandiag.probes._origin import describe, environment, git_commit, own_command
from gandiag.probes._snapshots import Snapshots
from gandiag.rundir import RunWriter, default_path
from gandiag.techniques import Technique, parse


class Run:
    """A loop being watched. A context manager; or call `close` yourself; or let the end of the process do it.

    Attributes:
        path: the run directory.
        techniques: those that are on.
        attached: the run that `gandiag run` began in this process, until the script calls `watch` itself.
    """

    attached: ClassVar[Run | None] = None

    def __init__(
        self,
        *,
        run_dir: str | Path | None,
        generator: nn.Module | Iterable[nn.Module] | None = None,
        discriminator: nn.Module | Iterable[nn.Module] | None = None,
        optimizers: Sequence[Optimizer] = (),
        techniques: Sequence[str | Technique] = (),
        labels: Callable[[Tensor], Any] | None = None,
        embedder: str | Embedder = "auto",
        strict: bool = False,
        command: list[str] | None = None,
        options: dict[str, Any] | None = None,
        refused: Callable[[GandiagError], BaseException] = lambda error: error,
        say: Callable[[str], None] | None = None,
    ) -> None:
        try:
            refuse_unfit_for_loops(embedder)
        except GandiagError as error:
            raise refused(error) from error
        self._options = dict(options or {})
        self._command = command
        self._say = say or _say
        self._notes: list[str] = []
        self._status = "finished"
        self._refused = refused
        self._pid = os.getpid()
        self._over = False
        self._described: dict[str, Any] = {}
        self._described_version: tuple[int, bool, float] | None = None
        self._error_before = getattr(sys, "last_value", None)
        # Absolute, as the script may change its working directory.
        self.path = Path(run_dir if run_dir is not None else default_path(sys.argv[0] or "notebook")).absolute()
        self.observer = Observer(
            generator=generator,
            discriminator=discriminator,
            generator_name=self._options.get("generator"),
            discriminator_name=self._options.get("discriminator"),
            taint=bool(self._options.get("taint")),
            strict=strict,
            failed=self._failed,
            refused=refused,
        )
        self.interventions = Interventions(techniques, self.observer)
        self.techniques = self.interventions.techniques
        self.recorder = Recorder(
            self.observer,
            self._writer,
            Snapshots(lambda x: embed(x, embedder=embedder), labels, self._options.get("snapshot_rows")),
            facts=self._facts,
            failed=self._failed,
            most=self._options.get("max_iterations"),
            strict=strict,
        )
        if self.techniques:
            self.observer.director = self.interventions
            self.observer.listeners.append(self.interventions)
        # After the interventions: the recorded gradients are those that the optimizer is about to use.
        self.observer.listeners.append(self.recorder)
        if self.techniques:
            self.observer.listeners.append(self.interventions.last)
        for optimizer in optimizers:
            self.observer.units.add_optimizer(optimizer)
        self.observer.open()
        atexit.register(self._at_exit)

    def log(self, **scalars: float | Tensor) -> None:
        """Add columns of your own to the current iteration; tensors stay on their device until the flush.

        Raises:
            UsageError: a value is not one number, or gandiag has a column of that name itself.
        """
        self.recorder.log(scalars)

    def averages(self) -> dict[str, Tensor]:
        """The weights that the technique `ema` has averaged, under G's state_dict keys; empty without it."""
        for technique in self.techniques:
            if hasattr(technique, "averages"):
                found: dict[str, Tensor] = technique.averages()
                return found
        return {}

    def close(self) -> None:
        """Stop to watch, write what is left, leave torch as it was. Safe to call twice."""
        if self._over:
            return
        self._over = True
        self.observer.close()
        atexit.unregister(self._at_exit)
        if self.recorder.writer is None or os.getpid() != self._pid:
            return
        if self.averages():
            self._save_averages(self.recorder.writer)
        idle = [name for name, count in self.interventions.counts.items() if not count]
        if idle and self._status == "finished" and self.observer.iteration:
            self._failed(
                f"{' and '.join(idle)} was on and has not acted once: its settings or this script left it nothing to "
                f"do, so that the training was as without it (`gandiag techniques {idle[0]}` says when it acts)"
            )
        self.recorder.close(self._status)
        if self._status == "finished":  # a script that broke has said enough
            for text in blind_spots(self.observer, over=True):
                self._say(text)

    def _at_exit(self) -> None:
        # Python remembers an error that nobody caught; in a notebook, of a cell long before this run.
        if getattr(sys, "last_value", None) is not self._error_before:
            self.fail()
        self.close()

    def fail(self) -> None:
        """Note that the script is ending with an error."""
        self._status = "failed"

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self.fail()
        self.close()

    # -- what run.json says -------------------------------------------------------------------------------

    def _writer(self) -> RunWriter:
        rank, ranks = _place_among_ranks()
        facts = {
            "command": self._command,
            "cwd": str(Path.cwd()),
            "environment": environment(),
            "git_commit": git_commit(Path.cwd()),
            "versions": {
                "gandiag": gandiag.__version__,
                "python": platform.python_version(),
                "torch": str(torch.__version__),
            },
            "options": {key: value for key, value in self._options.items() if value is not None},
            "parent": self._options.get("parent"),
            "ranks": ranks,
            "status": "running",
            **self._facts(),
        }
        restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") or 0)
        return RunWriter(self.path, info=facts, rank=rank, attempt=restarts)

    def _facts(self) -> dict[str, Any]:
        observer = self.observer
        version = (observer.units.version, observer.roles.known, observer.roles.confidence())
        if version != self._described_version:  # a flush comes each tenth of a second in a fast loop
            self._described, self._described_version = self._describe(), version
        return {
            **self._described,
            "d_calls": observer.tally.to_json(),
            "iterations": observer.iteration,
            "techniques": [
                {"name": t.card.name, "params": t.params(), "applied": self.interventions.counts[t.card.name]}
                for t in self.techniques
            ],
            "blind_spots": [*self._notes, *self.recorder.blind_spots, *blind_spots(observer, over=self._over)],
        }

    def _describe(self) -> dict[str, Any]:
        observer = self.observer
        nets = observer.nets("d") or observer.nets("g")
        device = next((str(p.device) for net in nets for p in net.parameters()), None)
        roles = {}
        if observer.roles.known:
            for role, key in (("generator", "g"), ("discriminator", "d")):
                roles[role] = describe(observer.nets(key), observer.roles.confidence())
        return {"device": device, "roles": roles}

    def _failed(self, text: str) -> None:
        self._notes.append(text)
        self._say(text)
        writer = self.recorder.writer
        if writer is not None:  # now, as the process may be killed before it ends
            with suppress(Exception):  # what fails here is what the text is about, and it has been said
                writer.event("failed", step=self.observer.iteration, text=text)
                writer.update_info(**self._facts())

    def unclear(self) -> GandiagError | None:
        """The question to ask if steps were seen and nobody knows whose they were."""
        units = self.observer.units
        return question(units) if units.optimizers() and not self.observer.roles.known else None

    def _save_averages(self, writer: RunWriter) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        tensors = {name: value.detach().cpu().contiguous() for name, value in self.averages().items()}
        try:
            save_file(tensors, str(writer.folder / "ema-generator.safetensors"))
        except (OSError, SafetensorError) as error:
            self._failed(f"the averaged weights could not be written: {error}")


def _place_among_ranks() -> tuple[int, int]:
    """This process's rank and how many there are; some launchers (Lightning's) set no RANK in the environment."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return int(os.environ.get("RANK", "0") or 0), int(os.environ.get("WORLD_SIZE", "1") or 1)


def watch(
    generator: nn.Module | Iterable[nn.Module] | None,
    discriminator: nn.Module | Iterable[nn.Module] | None,
    *,
    run_dir: str | Path | None = None,
    optimizers: Sequence[Optimizer] | None = None,
    techniques: Sequence[str | Technique] = (),
    labels: Callable[[Tensor], Any] | None = None,
    embedder: str | Embedder = "auto",
    strict: bool = False,
    snapshot_rows: int | None = None,
    taint: bool = False,
) -> Run:
    """Watch a training loop from here on; the loop itself stays as it is.

        run = gandiag.watch(G, D, run_dir="runs/mine")
        for x in loader:
            ...                       # train as ever
        run.close()                   # or `with gandiag.watch(...)`, or the end of the process

    Args:
        generator: the generator, or several nets that make one together; None to find it by the data that flows.
        discriminator: the discriminator, or several, or None.
        run_dir: where to record; by default `runs/<script>-<date>-<id>`. An existing run is continued.
        optimizers: theirs, if they were made before this call and `ttur` is on; else found at the first step.
        techniques: such as `["r1:gamma=0.1"]`; they change the training.
        labels: gives each sample of a batch (n, ...) its mode, n integers; without it modes are clusters.
        embedder: what samples are compared in: a name that needs no fitting, "module:function", a function from a batch
            (n, ...) to features (n, d), or "auto".
        strict: raise gandiag's own errors, for tests; by default they switch gandiag off and training goes on, unless
            techniques are on: then `TechniqueRefused` is raised into the loop, which would else go on without them.
        snapshot_rows: samples in a snapshot, each side; by default 2,500 small or 1,000 large ones.
        taint: follow every tensor operation of the first 5 iterations, for loops where real and fake cannot be told
            apart otherwise. It slows these iterations down, up to five times where nets are tiny; it changes no bit.

    Returns:
        The watched run.

    Raises:
        RunDirError: the run directory cannot be written or holds something else.
        UsageError, UnknownName, TechniqueRefused: a technique, or an embedder, that cannot be used.
    """
    settings: dict[str, Any] = {"run_dir": run_dir, "techniques": techniques, "command": own_command()}
    options: dict[str, Any] = {"snapshot_rows": snapshot_rows}
    if taint:  # where it is not asked for here, the command line may have asked for it
        options["taint"] = True
    outer, Run.attached = Run.attached, None
    if outer is not None:
        settings, options = _as_asked_outside(outer, techniques, options)
    run = Run(
        generator=generator,
        discriminator=discriminator,
        optimizers=tuple(optimizers or ()),
        labels=labels,
        embedder=embedder,
        strict=strict,
        options=options,
        **settings,
    )
    try:
        run.recorder.open()
    except GandiagError:
        run.close()
        raise
    return run


def _as_asked_outside(
    outer: Run, techniques: Sequence[str | Technique], options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `watch` does in a script that runs below `gandiag run`: one recording, where the command line says.

    Else a remediation that starts the script anew would write its trials into the very run it tries to repair.
    Of techniques with one name the command line's wins.
    """
    outer.close()
    given = {t.card.name for t in outer.techniques}
    own = [t for t in map(parse, techniques) if t.card.name not in given]
    settings = {
        "run_dir": outer.path,
        "techniques": [*own, *outer.techniques],
        "command": outer._command,
        "refused": outer._refused,
    }
    return settings, {**outer._options, **options}


def _say(text: str) -> None:
    """One line on stderr; where that is closed, or on the disk that is full, nobody is told and training goes on."""
    line = f"gandiag: {text}\n"
    with suppress(OSError, ValueError):
        if (stream := sys.__stderr__) is not None and sys.stderr is stream:
            # Past its buffer: what cannot be written would stay there and end the script with exit code 120.
            os.write(stream.fileno(), line.encode(errors="replace"))
        elif sys.stderr is not None:  # else print would write to stdout, among the script's own results
            print(line, end="", file=sys.stderr)
