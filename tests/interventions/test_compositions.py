"""Several techniques at once: each where it belongs, and the same result at each run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    D,
    Hand,
    Script,
    assert_same,
    dcgan,
    n_critic,
    net_for,
    own_stream,
    ring,
    script,
    train,
    watched,
)
from helpers.unrecorded import unrecorded
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

import gandiag
from gandiag.errors import TechniqueRefused
from gandiag.techniques.spectral_norm import SpectralNorm, _matrix

SETS = [
    ["r1:gamma=0.5", "instance_noise", "grad_clip", "ema", "ttur:ratio=2"],
    ["pacgan", "rpgan_r1_r2"],
    ["spectral_norm", "pacgan"],
    ["minibatch_discrimination", "spectral_norm", "feature_matching", "label_smoothing"],
]


@pytest.mark.parametrize("techniques", SETS, ids=" ".join)
def test_a_set_of_techniques_is_deterministic(techniques: list[str], tmp_path: Path) -> None:
    """Two runs from the same start end in the same place, each technique having acted."""
    ours, again = (script(d=net_for("dcgan"), data=lambda: ring(steps=10)) for _ in range(2))
    run = watched(dcgan, ours, techniques, tmp_path / "1")
    watched(dcgan, again, techniques, tmp_path / "2")
    assert_same(ours.tensors(), again.tensors())
    assert min(run.interventions.counts.values()) >= 10


def test_recording_does_not_disturb_techniques(tmp_path: Path) -> None:
    """With the recorder at work, in single precision, the weights are those of a run that records nothing."""
    torch.set_default_dtype(torch.float32)
    ours, theirs = (script(d=net_for("dcgan"), data=lambda: ring(steps=10)) for _ in range(2))
    techniques = ["pacgan", "rpgan_r1_r2", "ema"]
    with gandiag.watch(ours.g, ours.d, run_dir=tmp_path / "run", techniques=techniques, strict=True):
        train(dcgan, ours)
    watched(dcgan, theirs, techniques, tmp_path)
    assert_same(ours.tensors(), theirs.tensors())


class R1AtWhatDSaw(Hand):
    """Noise on D's input; R1 at the noisy reals; then the clipping, of the sum of both gradients."""

    def __init__(self) -> None:
        self.stream, self.saw = own_stream(), []

    def see(self, x: Tensor) -> Tensor:
        noisy = x + 0.1 * torch.randn(x.shape, generator=self.stream)
        self.saw.append(noisy.detach())
        return noisy

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        x = self.saw[-2].requires_grad_()
        (slope,) = torch.autograd.grad(s.d.logits(x).sum(), x, create_graph=True)
        return 0.5 / 2 * slope.square().sum(1).mean()

    def before_step(self, net: nn.Module, optimizer: object) -> None:
        nn.utils.clip_grad_norm_(net.parameters(), 0.1)


def test_noise_r1_and_clipping_equal_the_hand_written_loop(tmp_path: Path) -> None:
    """Bit for bit: the penalty is taken where D looked, and what is clipped holds the penalty."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    watched(dcgan, ours, ["r1:gamma=0.5", "instance_noise:std=0.1", "grad_clip:max_norm=0.1"], tmp_path)
    train(dcgan, theirs, R1AtWhatDSaw())
    assert_same(ours.tensors(), theirs.tensors())


class WideD(D):
    """D on packs of two, with the blocks that gandiag draws."""

    def __init__(self) -> None:
        super().__init__()
        first, self.first = self.first, nn.Linear(4, self.first.out_features)
        block = first.weight.detach().std() * torch.randn(first.weight.shape, generator=own_stream())
        with torch.no_grad():
            self.first.weight.copy_(torch.cat([first.weight, block], dim=1))
            self.first.bias.copy_(first.bias)

    def features(self, x: Tensor) -> Tensor:
        return super().features(x.reshape(-1, 4))


class PackedRpGAN(Hand):
    """R3GAN on packs: one logit and one slope for each pack."""

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = (x.detach().reshape(-1, 4).requires_grad_() for x in (real, fake))
        d_real, d_fake = s.d(real), s.d(fake)
        (r1,) = torch.autograd.grad(d_real.sum(), real, create_graph=True)
        (r2,) = torch.autograd.grad(d_fake.sum(), fake, create_graph=True)
        penalty = r1.square().sum(1).mean() + r2.square().sum(1).mean()
        return functional.softplus(-(d_real - d_fake)).mean() + 0.5 / 2 * penalty

    def g_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        return functional.softplus(-(s.d(fake) - s.d(real).detach())).mean()


def test_packs_and_their_slopes_equal_the_hand_written_loop(tmp_path: Path) -> None:
    """Within 1e-6 of R1 and R2 taken at packs: neither m nor m squared times too strong."""
    ours = script()
    run = watched(n_critic, ours, ["pacgan:m=2", "rpgan_r1_r2:gamma=0.5"], tmp_path)
    theirs = script(d=WideD)
    train(n_critic, theirs, PackedRpGAN())
    found, wanted = ours.tensors(), theirs.tensors()
    found["d.first.weight"] = torch.cat([found["d.first.weight"], run.techniques[0].added()[ours.d.first][0]], dim=1)
    names = [name for name in found if name.startswith(("g.", "d."))]
    assert_same({name: found[name].detach() for name in names}, {name: wanted[name] for name in names}, within=1e-6)


@pytest.mark.parametrize("order", [["spectral_norm", "pacgan"], ["pacgan", "spectral_norm"]])
def test_packs_are_normalised_as_the_wide_layer_that_they_are(order: list[str], tmp_path: Path) -> None:
    """In either order: the blocks side by side have the largest singular value one, not each by itself."""
    ours = script(data=lambda: ring(steps=30))
    run = watched(n_critic, ours, order, tmp_path)
    norm = next(t for t in run.techniques if isinstance(t, SpectralNorm))
    pacgan = next(t for t in run.techniques if t.pack == 2)
    weights = norm.weights(ours.d, training=True, update=True)
    blocks = [weights[layer] for layer in (ours.d.first, *pacgan.beside()[ours.d.first])]
    largest = torch.linalg.matrix_norm(torch.cat(blocks, dim=1), ord=2)
    torch.testing.assert_close(largest, torch.tensor(1.0), atol=1e-3, rtol=0)
    assert _matrix([ours.d.first, *pacgan.beside()[ours.d.first]]).shape == (12, 4)


def test_clipping_sees_the_added_weights(tmp_path: Path) -> None:
    """The norm that is clipped is that of the wide layer's gradient, the added block's part of it included."""
    seen = []
    ours = script(data=lambda: ring(steps=2))
    with gandiag.watch(
        ours.g, ours.d, run_dir=tmp_path / "run", techniques=["pacgan", "grad_clip:max_norm=1e-3"]
    ) as run:
        unrecorded(run)
        clip = run.techniques[1].clip
        run.techniques[1].clip = lambda parameters: (seen.append(len(parameters)), clip(parameters))
        train(n_critic, ours)
    assert seen == [7, 7, 4]


@pytest.mark.parametrize("name", ["l2:d=0.1", "l1:d=0.01", "historical_averaging:d=0.1,g=0"])
def test_penalties_of_weights_reach_the_added_ones(name: str, tmp_path: Path) -> None:
    """Within 1e-6 of a D that has the wide layer itself: each block pays for its own weights."""
    ours = script(data=lambda: ring(steps=20))
    run = watched(n_critic, ours, ["pacgan:m=2", name], tmp_path / "a")
    theirs = script(d=WideD, data=lambda: ring(steps=20))
    watched(n_critic, theirs, [name], tmp_path / "b")
    added = run.techniques[0].added()[ours.d.first][0]
    wide = torch.cat([ours.d.first.weight, added], dim=1)
    assert_same({"wide": wide.detach()}, {"wide": theirs.d.first.weight.detach()}, within=1e-6)


def test_whole_rows_cannot_be_compared_beside_added_columns(tmp_path: Path) -> None:
    """`orthogonal` in D beside packs is refused, and in G alone it is not."""
    with pytest.raises(TechniqueRefused, match="orthogonal compares whole rows"):
        watched(n_critic, script(), ["pacgan", "orthogonal:d=0.1"], tmp_path / "a")
    run = watched(n_critic, script(data=lambda: ring(steps=4)), ["pacgan", "orthogonal"], tmp_path / "b")
    assert min(run.interventions.counts.values()) > 0


@pytest.mark.parametrize(
    "techniques",
    [
        ["unrolled", "spectral_regularisation"],
        ["reweighting", "ada"],
        ["consensus", "instance_noise"],
        ["lookahead", "pacgan"],
    ],
)
def test_what_would_undo_each_other_is_refused(techniques: list[str], tmp_path: Path) -> None:
    """An unrolled D without its normalisation; samples that are never the same; fakes that D sees without noise."""
    with pytest.raises(TechniqueRefused, match="must not be on together"):
        watched(n_critic, script(), techniques, tmp_path)


class AveragedAndDecayed(Hand):
    """One step of G in three of D's; the average and the decay count the steps that are made."""

    def __init__(self, g: nn.Module) -> None:
        self.average = {name: p.detach().clone() for name, p in g.named_parameters()}
        self.turns = {"d": 0, "g": 0}

    def step(self, s: Script, optimizer: Optimizer) -> None:
        role = "d" if optimizer is s.optimizer_d else "g"
        if role == "g" and self.turns["d"] % 3:
            return
        group = optimizer.param_groups[0]
        before, group["lr"] = group["lr"], group["lr"] * (1 - self.turns[role] / 60)
        optimizer.step()
        group["lr"] = before
        self.turns[role] += 1
        if role == "g":
            for name, p in s.g.named_parameters():
                self.average[name].lerp_(p.detach(), 0.1)


def test_a_step_that_is_left_out_counts_for_nothing(tmp_path: Path) -> None:
    """Within 1e-12 of the loop by hand: the average and the rate move with G's steps, one in three rounds."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    run = watched(dcgan, ours, ["n_critic:n=3", "ema:decay=0.9", "lr_decay:over=60"], tmp_path)
    hand = AveragedAndDecayed(theirs.g)
    train(dcgan, theirs, hand)
    assert_same(ours.tensors(), theirs.tensors(), within=1e-12)
    assert_same(run.averages(), hand.average, within=1e-12)
    assert hand.turns == {"d": 50, "g": 16}


def test_two_optimizers_of_g_are_one_step_of_g(tmp_path: Path) -> None:
    """The one that does not set the pace steps after the round has ended: the average still moves once in three."""

    def loop(s: Script, hand: Hand) -> None:
        first, last = (Adam(layer.parameters(), lr=1e-3) for layer in (s.g.layers[0], s.g.layers[2]))
        for real in s.batches:
            s.optimizer_d.zero_grad()
            fake = s.g(torch.randn(len(real), 2))
            (functional.softplus(-s.d(real)).mean() + functional.softplus(s.d(fake.detach())).mean()).backward()
            s.optimizer_d.step()
            first.zero_grad()
            last.zero_grad()
            functional.softplus(-s.d(fake)).mean().backward()
            first.step()
            last.step()

    ours = script()
    with gandiag.watch(ours.g, ours.d, run_dir=tmp_path / "run", techniques=["n_critic:n=3", "ema"]) as run:
        train(loop, ours)
    assert run.interventions.counts["ema"] == len(ours.batches) // 3
