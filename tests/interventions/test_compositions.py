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

import gandiag
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
