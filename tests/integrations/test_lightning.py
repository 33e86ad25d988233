"""`GandiagCallback` with the real Lightning: what it records, and that training notices nothing of it."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import fingerprint
from torch import nn

from gandiag.errors import MissingExtra, RunDirError, UsageError
from gandiag.rundir import RunReader
from gandiag.watch import Run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Lightning does while it is imported is its own affair
    import pytorch_lightning
    from integrations.lightning_gan import BATCHES, GAN, Steps, loader
    from lightning.pytorch import Trainer, seed_everything

    from gandiag.integrations import lightning as integration
    from gandiag.integrations.lightning import GandiagCallback

EPOCHS = 3
STEPS = EPOCHS * BATCHES

pytestmark = [
    # torch 2.13 deprecates what Lightning 2.6 walks through batches and checkpoints with.
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"),
    # Advice, not faults: few workers, few batches between two logs, a checkpoint folder that is not empty.
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches .* is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]

Make = Callable[[Steps], Any]


def fit(make: Make | None = None, *, style: str = "toggle", ckpt_path: Path | None = None, **options: Any) -> str:
    """Train from the same start; SHA-256 of the weights, the optimizer states and torch's random stream.

    Args:
        make: makes the callback, of the module.
        style: of the module.
        ckpt_path: of a checkpoint to continue from.
        options: of the trainer; `module` and `trainer` in place of Lightning's own.
    """
    seed_everything(0, verbose=False)
    module = options.pop("module", GAN)(style)
    settings = {"max_epochs": EPOCHS, "enable_checkpointing": False, "num_sanity_val_steps": 0, "logger": False}
    trainer = options.pop("trainer", Trainer)(
        accelerator="cpu",
        devices=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=make(module) if make else None,
        **settings | options,
    )
    trainer.fit(module, loader(), loader(1, shuffle=False), ckpt_path=ckpt_path)
    return fingerprint(module.state_dict(), *(optimizer.state_dict() for optimizer in trainer.optimizers))


def check(path: Path, *, rounds: int = STEPS, calls: int = STEPS) -> RunReader:
    """A finished run with the right nets, all calls of D labelled right, and one row a round."""
    run = RunReader(path)
    training = {kind: phases for kind, phases in run.info.d_calls.items() if kind != "eval"}
    assert training == {"real": {"d": calls}, "fake": {"d": calls, "g": calls}}
    assert run.info.roles["generator"]["classes"] == ["G"]
    assert run.info.roles["discriminator"]["classes"] == ["D"]
    assert run.info.blind_spots == []
    assert (run.info.status, run.info.iterations, run.info.ranks) == ("finished", rounds, 1)
    columns = run.scalars()
    assert columns["iteration"].tolist() == list(range(1, rounds + 1))
    assert all(np.isfinite(columns[f"loss/{net}"][1:]).all() for net in "gd")
    return run


@pytest.mark.parametrize(
    ("style", "options"),
    [
        ("toggle", {}),
        ("plain", {}),
        ("closure", {}),
        ("clip", {}),
        ("accumulate", {}),
        ("clip", {"precision": "bf16-mixed"}),
    ],
    ids=lambda value: value if isinstance(value, str) else value.get("precision", "32"),
)
def test_every_call_is_labelled_and_no_bit_changes(tmp_path: Path, style: str, options: dict[str, Any]) -> None:
    """However the steps are written: Lightning's proxies or not, closures, clipping, accumulation, autocast."""
    watched = fit(lambda module: [GandiagCallback(run_dir=tmp_path / "run", strict=True)], style=style, **options)
    assert watched == fit(style=style, **options)
    check(tmp_path / "run", rounds=STEPS // 2 if style == "accumulate" else STEPS)


@pytest.mark.parametrize(
    "nets",
    [
        lambda module: (module.generator, module.discriminator),
        lambda module: ("generator.net", [module.discriminator.net]),
        lambda module: (None, None),
    ],
    ids=["modules", "inner ones, in a list", "data flow"],
)
def test_networks_can_be_given_in_several_ways(tmp_path: Path, nets: Callable[[Steps], Any]) -> None:
    """As modules, by dotted names, in lists, or not at all; the recording is the same."""
    fit(lambda module: GandiagCallback(*nets(module), run_dir=tmp_path / "run", strict=True))
    run = RunReader(tmp_path / "run")
    assert {kind: run.info.d_calls[kind] for kind in ("real", "fake")} == {
        "real": {"d": STEPS},
        "fake": {"d": STEPS, "g": STEPS},
    }
    assert run.info.iterations == STEPS
    assert run.info.roles["generator"]["parameters"] == 114
    assert run.info.roles["discriminator"]["parameters"] == 65


def test_what_the_module_logs_is_recorded(tmp_path: Path) -> None:
    """Training numbers one iteration later, a validation's number until the next one; none with `metrics=False`."""
    for metrics in (True, False):
        fit(lambda module, on=metrics: GandiagCallback(run_dir=tmp_path / str(on), metrics=on, strict=True))
    run = check(tmp_path / "True")
    assert run.info.d_calls["eval"]["none"] >= EPOCHS - 1  # the validations; the last one may not be settled
    columns = run.scalars()
    np.testing.assert_array_equal(columns["lightning/g_loss"][1:], columns["loss/g"][:-1])
    validity = columns["lightning/validity"]
    assert np.isnan(validity[:BATCHES]).all()
    assert len(set(validity[BATCHES + 1 :].tolist())) == EPOCHS - 1
    assert not [name for name in RunReader(tmp_path / "False").scalars() if name.startswith("lightning/")]


def test_a_fit_that_continues_goes_on_with_the_axis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a checkpoint, into the directory that it names: a second attempt, and the bits of an unwatched one."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    monkeypatch.chdir(tmp_path)
    bits = {}
    for watched in (False, True):
        for epochs, ckpt_path in ((2, None), (EPOCHS, tmp_path / str(watched) / "last.ckpt")):
            saver = ModelCheckpoint(dirpath=tmp_path / str(watched), save_last=True)
            bits[watched] = fit(
                lambda module, saver=saver, on=watched: [saver, *([GandiagCallback(strict=True)] if on else [])],
                max_epochs=epochs,
                ckpt_path=ckpt_path,
                enable_checkpointing=True,
            )
    assert bits[True] == bits[False]
    (path,) = (tmp_path / "runs").iterdir()
    run = RunReader(path)
    assert run.scalars()["iteration"].tolist() == list(range(1, STEPS + 1))
    assert [event["step"] for event in run.events() if event["kind"] == "attempt"] == [2 * BATCHES]
    assert run.info.status == "finished"


@pytest.mark.parametrize(("error", "leaves"), [(ValueError, ValueError), (KeyboardInterrupt, SystemExit)])
def test_a_fit_that_breaks_is_recorded_as_failed(tmp_path: Path, error: type[BaseException], leaves: type) -> None:
    """By an error or by Ctrl-C, which Lightning turns into an exit; what there is is written, torch is left alone."""

    class Broken(GAN):
        def training_step(self, batch: list[torch.Tensor], index: int) -> None:
            if index == 2:
                raise error
            super().training_step(batch, index)

    before = torch.autograd.grad, nn.Sequential.forward
    callback = GandiagCallback(run_dir=tmp_path / "run")
    with pytest.raises(leaves):
        fit(lambda module: callback, module=Broken)
    run = RunReader(tmp_path / "run")
    assert run.info.status == "failed"
    assert run.scalars()["iteration"].tolist() == [1, 2]
    assert (torch.autograd.grad, nn.Sequential.forward) == before
    assert (callback.run, callback.path) == (None, tmp_path / "run")


def test_one_callback_for_two_fits(tmp_path: Path) -> None:
    """The second is the next attempt of the same run."""
    callback = GandiagCallback(run_dir=tmp_path / "run", strict=True)
    for _ in range(2):
        fit(lambda module: callback, max_epochs=1)
    assert RunReader(tmp_path / "run").scalars()["iteration"].tolist() == list(range(1, 2 * BATCHES + 1))


def test_techniques_and_own_numbers(tmp_path: Path) -> None:
    """A technique works through Lightning's optimizers, labels reach the snapshots, `callback.run.log` writes."""

    class Logs(GAN):
        def training_step(self, batch: list[torch.Tensor], index: int) -> None:
            callback.run.log(index=index)  # type: ignore[union-attr]
            super().training_step(batch, index)

    callback = GandiagCallback(
        run_dir=tmp_path / "run", techniques=["r1:gamma=1"], labels=lambda x: (x[:, 0] > 1).long(), strict=True
    )
    assert fit(lambda module: callback, module=Logs) != fit()
    run = check(tmp_path / "run")
    assert run.info.techniques == [{"name": "r1", "params": {"gamma": 1.0, "every": 1}, "applied": STEPS}]
    assert run.scalars()["index"].tolist() == [*range(BATCHES)] * EPOCHS
    assert set(run.snapshot(run.snapshot_steps()[-1]).labels_real.tolist()) == {0, 1}


def test_below_gandiag_run_the_command_line_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One recording, where `gandiag run` said: else a remediation would write its trials into the script's own run."""
    monkeypatch.setattr(Run, "attached", Run(run_dir=tmp_path / "outer", techniques=["ema"]))
    fit(lambda module: GandiagCallback(run_dir=tmp_path / "inner", strict=True))
    assert not (tmp_path / "inner").exists()
    assert [t["name"] for t in check(tmp_path / "outer").info.techniques] == ["ema"]


@pytest.mark.filterwarnings("ignore:.*pytorch_lightning.*:DeprecationWarning")
def test_the_other_package_of_lightning(tmp_path: Path) -> None:
    """`pytorch_lightning` has a Trainer and a LightningModule of its own; the callback works there too."""

    class Other(Steps, pytorch_lightning.LightningModule):
        pass

    bits = [
        fit(make, module=Other, trainer=pytorch_lightning.Trainer)
        for make in (None, lambda module: [GandiagCallback(run_dir=tmp_path / "run", strict=True)])
    ]
    assert bits[0] == bits[1]
    check(tmp_path / "run")


def test_what_cannot_be_watched_is_an_error_before_training(tmp_path: Path) -> None:
    """A name that the module lacks, one network of two, a directory that holds something else: what to do is said."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"generator='netG'.*It has: generator, discriminator"):
        fit(lambda module: GandiagCallback("netG", run_dir=tmp_path / "run"))
    with pytest.raises(UsageError, match="name both, or give None for both"):
        GandiagCallback(None)
    with pytest.raises(RunDirError, match="give another one"):
        fit(lambda module: GandiagCallback(run_dir=tmp_path / "file" / "run"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_nets_that_nothing_flows_between_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With None for both and a loop that is no GAN's, the question that names the candidates stands in the run."""

    class Apart(GAN):
        def g_loss(self, x: torch.Tensor) -> torch.Tensor:
            return self(torch.randn(len(x), 4)).square().mean()

        def d_loss(self, x: torch.Tensor) -> torch.Tensor:
            return self.discriminator(x).square().mean()

    fit(lambda module: GandiagCallback(None, None, run_dir=tmp_path / "run"), module=Apart)
    words = "which net is the generator and which the discriminator could not be told"
    assert any(words in text for text in RunReader(tmp_path / "run").info.blind_spots)
    assert words in capsys.readouterr().err


def test_a_failure_in_the_logged_numbers_stays_out_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no longer recorded, the run says so, and the training ends as without."""

    def broken(self: Run, **scalars: Any) -> None:
        raise RuntimeError("out of ink")

    plain = fit()
    monkeypatch.setattr(Run, "log", broken)
    assert fit(lambda module: GandiagCallback(run_dir=tmp_path / "run")) == plain
    assert RunReader(tmp_path / "run").info.blind_spots == ["what Lightning logs is not recorded: out of ink"]
    with pytest.raises(RuntimeError, match="out of ink"):
        fit(lambda module: GandiagCallback(run_dir=tmp_path / "strict", strict=True))


def test_without_lightning_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One error, with the name of the extra."""
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.spec_from_file_location("without_lightning", str(integration.__file__))
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(MissingExtra, match=r"pip install 'gandiag\[lightning\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
