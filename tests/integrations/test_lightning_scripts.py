"""Lightning scripts that know nothing of gandiag: the framework's own GAN example, restated, and its Fabric variant."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from helpers.scripts import Terminal
from helpers.training import discriminator, fingerprint, generator
from integrations.pages import blocks, commands
from torch.utils.data import DataLoader, TensorDataset

from gandiag.rundir import RunReader
from gandiag.watch import Run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Lightning does while it is imported is its own affair
    from lightning.fabric import Fabric, seed_everything

pytestmark = [
    # torch 2.13 deprecates what Lightning 2.6 walks through batches with.
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"),
    # Advice, not faults: few workers, few batches between two logs.
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches .* is smaller than the logging interval"),
]

#: Lightning's `generative_adversarial_net.py`, on scikit-learn's digits in place of MNIST, and smaller.
DIGITS = """
import hashlib
import torch
import torch.nn as nn
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer, seed_everything
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

class Generator(nn.Module):
    def __init__(self, latent_dim=16):
        super().__init__()
        def block(in_feat, out_feat, normalize=True):
            layers = [nn.Linear(in_feat, out_feat)]
            if normalize:
                layers.append(nn.BatchNorm1d(out_feat, 0.8))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            return layers
        self.model = nn.Sequential(
            *block(latent_dim, 32, normalize=False), *block(32, 64), nn.Linear(64, 64), nn.Tanh()
        )
    def forward(self, z):
        return self.model(z).view(len(z), 1, 8, 8)

class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2, inplace=True), nn.Linear(64, 1))
    def forward(self, img):
        return self.model(img.view(img.size(0), -1))

class GAN(LightningModule):
    def __init__(self, lr=0.0002, b1=0.5, b2=0.999, latent_dim=16):
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.generator = Generator(latent_dim)
        self.discriminator = Discriminator()
        self.validation_z = torch.randn(8, latent_dim)
        self.example_input_array = torch.zeros(2, latent_dim)
    def forward(self, z):
        return self.generator(z)
    @staticmethod
    def adversarial_loss(y_hat, y):
        return F.binary_cross_entropy_with_logits(y_hat, y)
    def training_step(self, batch):
        imgs, _ = batch
        opt_g, opt_d = self.optimizers()
        z = torch.randn(imgs.shape[0], self.hparams.latent_dim).type_as(imgs)
        valid = torch.ones(imgs.size(0), 1).type_as(imgs)
        self.toggle_optimizer(opt_g)
        g_loss = self.adversarial_loss(self.discriminator(self(z)), valid)
        opt_g.zero_grad()
        self.manual_backward(g_loss)
        opt_g.step()
        self.untoggle_optimizer(opt_g)
        self.toggle_optimizer(opt_d)
        real_loss = self.adversarial_loss(self.discriminator(imgs), valid)
        fake = torch.zeros(imgs.size(0), 1).type_as(imgs)
        fake_loss = self.adversarial_loss(self.discriminator(self(z).detach()), fake)
        d_loss = (real_loss + fake_loss) / 2
        opt_d.zero_grad()
        self.manual_backward(d_loss)
        opt_d.step()
        self.untoggle_optimizer(opt_d)
        self.log_dict({"d_loss": d_loss, "g_loss": g_loss})
    def configure_optimizers(self):
        lr, betas = self.hparams.lr, (self.hparams.b1, self.hparams.b2)
        opt_g = torch.optim.Adam(self.generator.parameters(), lr=lr, betas=betas)
        opt_d = torch.optim.Adam(self.discriminator.parameters(), lr=lr, betas=betas)
        return opt_g, opt_d
    def on_train_epoch_end(self):
        self.samples = self(self.validation_z.type_as(self.generator.model[0].weight))

if __name__ == "__main__":
    torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1
    data = DataLoader(TensorDataset(images[:320], torch.tensor(labels[:320])), batch_size=32, shuffle=True)
    model = GAN()
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(model, data)
    digest = hashlib.sha256(torch.get_rng_state().numpy().tobytes())
    for tensor in model.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    with open("sha256.txt", "a") as file:
        print(digest.hexdigest(), file=file)
"""
STEPS = 20  # two epochs of ten batches

#: Two ranks that are forked off, without and with the callback; each prints the weights that it ends with.
RANKS = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from helpers.training import fingerprint
from integrations.lightning_gan import GAN, loader
from lightning.pytorch import Trainer, seed_everything
from gandiag.integrations.lightning import GandiagCallback

torch.set_num_threads(1)
for callbacks in ([], [GandiagCallback(strict=True)]):
    seed_everything(0, verbose=False)
    module = GAN()
    trainer = Trainer(
        accelerator="cpu", devices=2, strategy="ddp_fork_find_unused_parameters_true", max_epochs=3, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=callbacks
    )
    trainer.fit(module, loader(), loader(1, shuffle=False))
    print(fingerprint(module.state_dict()))
"""


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(tmp_path, monkeypatch, capfd)


def test_lightnings_own_gan_below_gandiag_run(terminal: Terminal) -> None:
    """Roles by data flow through the module that holds both nets, every call labelled, and not a bit changed."""
    (terminal.folder / "train.py").write_text(DIGITS)
    runpy.run_path("train.py", run_name="__main__")
    done = terminal.gandiag("run", "--run-dir", "run", "--", "python", "train.py")
    assert done.code == 0, done.err
    plain, watched = (terminal.folder / "sha256.txt").read_text().split()
    assert watched == plain
    run = RunReader(terminal.folder / "run")
    assert run.info.roles["generator"]["classes"] == ["Generator"]
    assert run.info.roles["discriminator"]["classes"] == ["Discriminator"]
    assert run.info.roles["generator"]["confidence"] > 0.99
    assert run.info.d_calls == {"real": {"d": STEPS}, "fake": {"d": STEPS, "g": STEPS}}
    assert (run.info.iterations, run.info.status, run.info.blind_spots) == (STEPS, "finished", [])


def test_each_rank_records_for_itself(tmp_path: Path) -> None:
    """Two ranks, one directory whose name the first one chooses, a folder for each; the weights are the unwatched."""
    done = subprocess.run(
        [sys.executable, "-c", RANKS, str(Path(__file__).parents[1])],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    plain, watched = done.stdout.split()[-2:]
    assert watched == plain
    (path,) = (tmp_path / "runs").iterdir()
    assert sorted(folder.name for folder in path.iterdir() if folder.is_dir()) == ["rank0.a0", "rank1.a0"]
    run = RunReader(path)
    assert (run.info.ranks, run.info.iterations, run.info.status) == (2, 6, "finished")  # two of four batches each
    assert {kind: run.info.d_calls[kind] for kind in ("real", "fake")} == {"real": {"d": 6}, "fake": {"d": 6, "g": 6}}


def test_the_page_does_what_it_says(terminal: Terminal) -> None:
    """Its script trains and records, with no warning but Lightning's own, and its command answers."""
    (script,) = blocks("lightning.md", "python")
    (terminal.folder / "train.py").write_text(script)
    runpy.run_path("train.py")
    run = RunReader(terminal.folder / "runs" / "lightning")
    assert run.info.d_calls == {"real": {"d": 40}, "fake": {"d": 40, "g": 40}}
    assert (run.info.iterations, run.info.status, run.info.blind_spots) == (40, "finished", [])
    assert {"lightning/loss_d", "lightning/loss_g"} <= set(run.scalars())
    (command,) = commands("lightning.md")
    answer = terminal.gandiag(*command.split()[1:])
    assert answer.code == 0, answer.err
    assert "runs/lightning: 40 iterations" in answer.out


def fabric_gan(precision: str) -> str:
    """Lightning's `train_fabric.py` in small: two backward passes in D's step; gives the SHA-256 of all it trained."""
    seed_everything(0, verbose=False)
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    g, d = generator(), discriminator(torch.nn.Sigmoid())
    opt_d, opt_g = (torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999)) for net in (d, g))
    d, opt_d = fabric.setup(d, opt_d)
    g, opt_g = fabric.setup(g, opt_g)
    data = fabric.setup_dataloaders(DataLoader(TensorDataset(torch.randn(STEPS * 16, 2)), batch_size=16, shuffle=True))
    criterion = torch.nn.BCELoss()
    for (real,) in data:
        d.zero_grad()
        label = torch.ones(len(real))
        fabric.backward(criterion(d(real).view(-1).float(), label))
        fake = g(torch.randn(len(real), 4))
        fabric.backward(criterion(d(fake.detach()).view(-1).float(), 0 * label))
        opt_d.step()
        g.zero_grad()
        fabric.backward(criterion(d(fake).view(-1).float(), label))
        fabric.clip_gradients(g, opt_g, max_norm=0.1)
        opt_g.step()
    return fingerprint(*(thing.state_dict() for thing in (g, d, opt_g, opt_d)))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_fabric(tmp_path: Path, precision: str) -> None:
    """Fabric's wrappers around nets and optimizers, watched as `gandiag run` watches: by data flow."""
    plain = fabric_gan(precision)
    run = Run(run_dir=tmp_path / "run", strict=True)
    watched = fabric_gan(precision)
    run.close()
    assert watched == plain
    info = RunReader(tmp_path / "run").info
    assert info.roles["generator"]["parameters"] == 114
    assert info.roles["discriminator"]["parameters"] == 65
    assert info.d_calls == {"real": {"d": STEPS}, "fake": {"d": STEPS, "g": STEPS}}
    assert (info.iterations, info.blind_spots) == (STEPS, [])
    assert RunReader(tmp_path / "run").scalars()["grad/g/total"].max() <= 0.1 + 1e-6
