"""A Lightning callback that watches a GAN while `trainer.fit` trains it.

    from gandiag.integrations.lightning import GandiagCallback

    trainer = Trainer(callbacks=[GandiagCallback(run_dir="runs/mine")])
    trainer.fit(module, loader)

Needs `pip install 'gandiag[lightning]'`. Both of its names work, `lightning.pytorch` and `pytorch_lightning`.
"""

from __future__ import annotations

import contextlib
import importlib
import operator
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from gandiag.errors import MissingExtra, UsageError
from gandiag.rundir import default_path
from gandiag.rundir.schema import INFO_FILE
from gandiag.techniques import Technique
from gandiag.watch import Run, watch

#: A net of the LightningModule: the (dotted) name of an attribute, the net itself, or several that make one together.
Nets = str | nn.Module | Iterable[str | nn.Module]


def _bases() -> tuple[type, ...]:
    """`Callback` of each Lightning that this process has imported, or else of the first that is installed.

    The two packages hold the same code twice, each with a `Callback` of its own. Their trainers call hooks by name,
    so a callback of the one works in the other's; inheriting from both costs nothing where both are loaded anyway.
    """
    names = ("lightning.pytorch", "pytorch_lightning")
    loaded = [sys.modules[name] for name in names if sys.modules.get(name) is not None]
    for name in names if not loaded else ():
        try:
            loaded = [importlib.import_module(name)]
            break
        except ModuleNotFoundError as error:
            if error.name not in ("lightning", *names):  # it is installed, and what it needs is not
                raise
    if not loaded:
        raise MissingExtra(
            "GandiagCallback needs Lightning, which is not installed: pip install 'gandiag[lightning]' "
            "(or call gandiag.watch(G, D) in a loop of your own)"
        )
    return tuple(module.Callback for module in loaded)


if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    Callback = type("Callback", _bases(), {})


class GandiagCallback(Callback):
    """Watches `trainer.fit`; the training ends with the same bits as without it.

    It begins when Lightning has put the networks on their device and made the optimizers, and ends with the fit, by
    an error too: then the run directory says "failed". A fit that continues (`ckpt_path=...`) into the same run
    directory is its next attempt, and the series of iterations goes on. Under several processes each rank records
    into a folder of its own; below `gandiag run` the directory and the techniques of the command line win.

    Args:
        generator: its attribute of the LightningModule, such as `"generator"` or `"nets.g"`; or the network itself;
            or a list of either; or None to have both networks found by the data that flows between them.
        discriminator: the same; None if and only if `generator` is.
        run_dir: where to record; by default the directory that the checkpoint names, if the fit continues from one,
            else `runs/<script>-<date>-<id>`.
        techniques: such as `["r1:gamma=0.1"]`; they change the training.
        labels: gives each sample of a batch (n, ...) its mode, n integers; without it modes are clusters.
        embedder: a name, or "auto".
        metrics: record what the module logs (`self.log`) too, in columns `lightning/NAME`. Lightning settles it
            when a batch ends, so it stands in the row of the iteration that ends next.
        strict: raise gandiag's own errors, for tests; by default they switch gandiag off and training goes on.
        snapshot_rows: samples in a snapshot, each side; by default 2,500 small or 1,000 large ones.

    Attributes:
        run: the watched run while `fit` goes on, for `callback.run.log(...)`; else None.
        path: the directory of the last run, or None.

    Raises:
        MissingExtra: Lightning is not installed; on import of this module.
        UsageError: by `fit`, where the module has no such networks.
        RunDirError, UnknownName, TechniqueRefused: by `fit`, as by `gandiag.watch`.
    """

    def __init__(
        self,
        generator: Nets | None = "generator",
        discriminator: Nets | None = "discriminator",
        *,
        run_dir: str | Path | None = None,
        techniques: Sequence[str | Technique] = (),
        labels: Callable[[Tensor], Any] | None = None,
        embedder: str = "auto",
        metrics: bool = True,
        strict: bool = False,
        snapshot_rows: int | None = None,
    ) -> None:
        super().__init__()
        if (generator is None) is not (discriminator is None):
            raise UsageError(
                f"GandiagCallback(generator={generator!r}, discriminator={discriminator!r}) names one network of two: "
                "name both, or give None for both to have them found by the data that flows"
            )
        self.run: Run | None = None
        self.path: Path | None = None
        self._nets = (generator, discriminator)
        self._run_dir = run_dir
        self._continued: str | None = None
        self._metrics = metrics
        self._options: dict[str, Any] = {
            "techniques": techniques,
            "labels": labels,
            "embedder": embedder,
            "strict": strict,
            "snapshot_rows": snapshot_rows,
        }

    # -- Lightning's hooks, in the order in which they are called -----------------------------------------------

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """A checkpoint is being restored: remember which run it belongs to."""
        self._continued = state_dict.get("run_dir")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin: the networks are on their device, the optimizers are made, nothing has run yet."""
        nets: list[Any] = [
            None if wanted is None else _find(wanted, pl_module, role)
            for wanted, role in zip(self._nets, ("generator", "discriminator"), strict=True)
        ]
        optimizers = [optimizer for optimizer in trainer.optimizers if isinstance(optimizer, Optimizer)]
        place = Path(trainer.strategy.broadcast(str(self._place())))  # one directory for all ranks
        with _rank_in_environment(trainer.global_rank, trainer.world_size):
            self.run = watch(*nets, run_dir=place, optimizers=optimizers, **self._options)
        for optimizer in optimizers:  # they were made before the watching began; without names they lead to the nets
            self.run.observer.optimizer_made(optimizer)
        self.path = self.run.path

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take over what the module has logged. Lightning reads the same numbers at the same place itself."""
        if self.run is None or not self._metrics:
            return
        try:
            self.run.log(**{f"lightning/{name}": value for name, value in trainer.logged_metrics.items()})
        except Exception as error:
            if self._options["strict"]:
                raise
            self._metrics = False
            self.run.recorder.blind_spots.append(f"what Lightning logs is not recorded: {error}")

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints: the run that they belong to."""
        return {} if self.path is None else {"run_dir": str(self.path)}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End, and say if nobody could tell which network is which."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End; a spent budget of iterations (`SystemExit(0)`) is no failure."""
        if self.run is not None and not (isinstance(exception, SystemExit) and not exception.code):
            self.run.fail()
        self._close()

    # -- helpers ------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        run, self.run = self.run, None
        if run is not None:
            unclear = run.unclear()
            if unclear is not None:
                run.recorder.blind_spots.append(str(unclear))
                print(f"gandiag: {unclear}", file=sys.stderr)
            run.close()

    def _place(self) -> Path:
        if self._run_dir is not None:
            return Path(self._run_dir).absolute()
        if self._continued is not None and (Path(self._continued) / INFO_FILE).is_file():
            return Path(self._continued)
        return default_path(sys.argv[0] or "notebook").absolute()


def _find(wanted: Nets, home: nn.Module, role: str) -> list[nn.Module]:
    """The networks that `wanted` names in `home`."""
    if not isinstance(wanted, str | nn.Module):
        return [net for one in wanted for net in _find(one, home, role)]
    try:
        net = operator.attrgetter(wanted)(home) if isinstance(wanted, str) else wanted
    except AttributeError:
        net = None
    if isinstance(net, nn.Module):
        return [net]
    has = ", ".join(name for name, child in home.named_children() if any(True for _ in child.parameters()))
    raise UsageError(
        f"GandiagCallback({role}={wanted!r}): {type(home).__name__} has no network of that name. It has: "
        f"{has or 'none when the fit starts'}. Give its name, the network itself, or None for both to have them found "
        "by the data that flows"
    )


@contextlib.contextmanager
def _rank_in_environment(rank: int, ranks: int) -> Iterator[None]:
    """What the recording looks for, RANK and WORLD_SIZE, for a moment: Lightning's launchers set LOCAL_RANK alone."""
    if ranks == 1:
        yield
        return
    before = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE")}
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks)}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
