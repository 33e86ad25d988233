"""Watching a training loop: the observer, the probes and the techniques, put together."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import gandiag
from gandiag.embed import embed
from gandiag.errors import GandiagError
from gandiag.interventions import Interventions
from gandiag.loop import Observer
from gandiag.loop.roles import question
from gandiag.probes import Recorder
from gandiag.probes._snapshots import Snapshots
from gandiag.rundir import RunWriter, default_path
from gandiag.techniques import Technique


class Run:
    """A loop being watched. A context manager; or call `close` yourself; or let the end of the process do it.

    Attributes:
        path: the run directory.
        techniques: those that are on.
    """

    def __init__(
        self,
        *,
        run_dir: str | Path | None,
        generator: nn.Module | Iterable[nn.Module] | None = None,
        discriminator: nn.Module | Iterable[nn.Module] | None = None,
        optimizers: Sequence[Optimizer] = (),
        techniques: Sequence[str | Technique] = (),
        labels: Callable[[Tensor], Any] | None = None,
        embedder: str = "auto",
        strict: bool = False,
        command: list[str] | None = None,
        options: dict[str, Any] | None = None,
        refused: Callable[[GandiagError], BaseException] = lambda error: error,
        say: Callable[[str], None] = lambda text: print(f"gandiag: {text}", file=sys.stderr),
    ) -> None:
        self._options = dict(options or {})
        self._command = command
        self._say = say
        self._notes: list[str] = []
        self._status = "finished"
        self.path = Path(run_dir) if run_dir is not None else default_path(sys.argv[0] or "notebook")
        self.observer = Observer(
            generator=generator,
            discriminator=discriminator,
            generator_name=self._options.get("generator"),
            discriminator_name=self._options.get("discriminator"),
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
        for optimizer in optimizers:
            self.observer.units.add_optimizer(optimizer)
        self.observer.open()
        atexit.register(self.close)

    def log(self, **scalars: float | Tensor) -> None:
        """Add columns of your own to the current iteration; tensors stay on their device until the flush."""
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
        self.observer.close()
        if self.recorder.writer is not None and self.averages():
            self._save_averages(self.recorder.writer)
        self.recorder.close(self._status)
        atexit.unregister(self.close)

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

    def begin(self) -> None:
        """Make the run directory now rather than at the first step, so that a bad path is told at once."""
        self.recorder._open()

    def _writer(self) -> RunWriter:
        facts = {
            "command": self._command,
            "cwd": str(Path.cwd()),
            "environment": _environment(),
            "git_commit": git_commit(Path.cwd()),
            "versions": {
                "gandiag": gandiag.__version__,
                "python": platform.python_version(),
                "torch": str(torch.__version__),
            },
            "options": {key: value for key, value in self._options.items() if value is not None},
            "parent": self._options.get("parent"),
            "ranks": int(os.environ.get("WORLD_SIZE", "1") or 1),
            "status": "running",
            **self._facts(),
        }
        return RunWriter(self.path, info=facts, rank=int(os.environ.get("RANK", "0") or 0))

    def _facts(self) -> dict[str, Any]:
        observer = self.observer
        nets = observer.nets("d") or observer.nets("g")
        device = next((str(p.device) for net in nets for p in net.parameters()), None)
        roles = {}
        if observer.roles.known:
            for role, key in (("generator", "g"), ("discriminator", "d")):
                roles[role] = _describe(observer.nets(key), observer.roles.confidence())
        return {
            "device": device,
            "roles": roles,
            "d_calls": observer.tally.to_json(),
            "iterations": observer.iteration,
            "techniques": [
                {"name": t.card.name, "params": t.params(), "applied": self.interventions.counts[t.card.name]}
                for t in self.techniques
            ],
            "blind_spots": [*self._notes, *self.recorder.blind_spots, *_blind(nets)],
        }

    def _failed(self, text: str) -> None:
        self._notes.append(text)
        self._say(text)

    def unclear(self) -> GandiagError | None:
        """The question to ask if steps were seen and nobody knows whose they were."""
        units = self.observer.units
        return question(units) if units.optimizers() and not self.observer.roles.known else None

    def _save_averages(self, writer: RunWriter) -> None:
        from safetensors.torch import save_file

        tensors = {name: value.detach().cpu().contiguous() for name, value in self.averages().items()}
        try:
            save_file(tensors, str(writer.folder / "ema-generator.safetensors"))
        except OSError as error:
            self._failed(f"the averaged weights could not be written: {error}")


def watch(
    generator: nn.Module | Iterable[nn.Module],
    discriminator: nn.Module | Iterable[nn.Module],
    *,
    run_dir: str | Path | None = None,
    optimizers: Sequence[Optimizer] | None = None,
    techniques: Sequence[str | Technique] = (),
    labels: Callable[[Tensor], Any] | None = None,
    embedder: str = "auto",
    strict: bool = False,
    snapshot_rows: int | None = None,
) -> Run:
    """Watch a training loop from here on; the loop itself stays as it is.

        run = gandiag.watch(G, D, run_dir="runs/mine")
        for x in loader:
            ...                       # train as ever
        run.close()                   # or `with gandiag.watch(...)`, or the end of the process

    Args:
        generator: the generator, or several nets that make one together.
        discriminator: the discriminator, or several.
        run_dir: where to record; by default `runs/<script>-<date>-<id>`. An existing run is continued.
        optimizers: theirs, if they were made before this call and `ttur` is on; else found at the first step.
        techniques: such as `["r1:gamma=0.1"]`; they change the training.
        labels: gives each sample of a batch (n, ...) its mode, n integers; without it modes are clusters.
        embedder: a name, or "auto".
        strict: raise gandiag's own errors, for tests; by default they switch gandiag off and training goes on.
        snapshot_rows: samples in a snapshot, each side; by default 2,500 small or 1,000 large ones.

    Returns:
        The watched run.

    Raises:
        RunDirError: the run directory cannot be written or holds something else.
        UsageError, UnknownName, TechniqueRefused: a technique that cannot be turned on.
    """
    run = Run(
        run_dir=run_dir,
        generator=generator,
        discriminator=discriminator,
        optimizers=tuple(optimizers or ()),
        techniques=techniques,
        labels=labels,
        embedder=embedder,
        strict=strict,
        command=own_command(),
        options={"snapshot_rows": snapshot_rows},
    )
    try:
        run.recorder.writer = run._writer()
        run.recorder._offset = run.recorder.writer.last_iteration
    except GandiagError:
        run.observer.close()
        raise
    return run


def own_command() -> list[str] | None:
    """The command that started this process, or None where running it again would not train (notebooks)."""
    if "ipykernel" in sys.modules or not getattr(sys, "orig_argv", None):
        return None
    words = [sys.executable, *sys.orig_argv[1:]]
    return None if len(words) < 2 or words[1] in ("-c", "-") else words


def git_commit(folder: Path) -> str | None:
    """The commit checked out around `folder`, read from .git without running git."""
    for home in (folder, *folder.parents):
        head = home / ".git" / "HEAD"
        if not head.is_file():
            continue
        try:
            text = head.read_text(encoding="utf-8").strip()
            if text.startswith("ref: "):
                text = (home / ".git" / text[5:]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None  # packed refs, worktrees: a commit is worth having, not worth more code
        return text[:64]
    return None


def _environment() -> dict[str, Any]:
    own = {key: value for key, value in os.environ.items() if key.startswith("GANDIAG_")}
    facts = json.dumps([sys.version, str(torch.__version__), platform.platform(), sorted(os.environ)])
    return {"digest": hashlib.sha256(facts.encode()).hexdigest(), **own}


def _describe(nets: list[nn.Module], confidence: float) -> dict[str, Any]:
    layers: dict[str, int] = {}
    for net in nets:
        for module in net.modules():
            if not list(module.children()):
                layers[type(module).__name__] = layers.get(type(module).__name__, 0) + 1
    return {
        "classes": [type(net).__name__ for net in nets],
        "parameters": sum(p.numel() for net in nets for p in net.parameters()),
        "confidence": confidence,
        "layers": layers,
    }


def _blind(nets: list[nn.Module]) -> list[str]:
    if any(type(m).__name__ == "OptimizedModule" for net in nets for m in net.modules()):
        return ["a net is compiled: its inner calls cannot be seen, D's features are not recorded"]
    return []
