"""Virtual batch normalisation: each sample beside one fixed batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    WIDTH,
    ConvD,
    Hand,
    Script,
    assert_same,
    dcgan,
    net_for,
    pictures,
    script,
    train,
    watched,
)
from torch import Tensor, nn
from torch.nn import functional

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.virtual_batch_norm import Moments


def test_moments_are_those_of_the_batch_with_the_sample_added() -> None:
    """Of (1, 3) and 5 the mean is 3 and the mean square 35 / 3; of (1, 3) and -1 they are 1 and 11 / 3."""
    moments = Moments.of(torch.tensor([[1.0], [3.0]])).with_each(torch.tensor([[5.0], [-1.0]]))
    torch.testing.assert_close(moments.mean, torch.tensor([[3.0], [1.0]]))
    torch.testing.assert_close(moments.square, torch.tensor([[35.0 / 3], [11.0 / 3]]))


def test_each_picture_beside_the_reference_is_a_batch_norm_of_both() -> None:
    """For each picture: torch's batch norm of the reference batch with that picture, of which its row is taken."""
    norm = nn.BatchNorm2d(3)
    norm.weight.data, norm.bias.data = torch.randn(3), torch.randn(3)
    reference, x = torch.randn(4, 3, 2, 5), torch.randn(6, 3, 2, 5)
    wanted = torch.stack([norm(torch.cat([reference, one[None]]))[-1] for one in x])
    torch.testing.assert_close(Moments.of(reference).with_each(x).normalise(x, norm), wanted)
    torch.testing.assert_close(Moments.of(reference).normalise(reference, norm), norm(reference))


def test_a_constant_channel_is_no_nan() -> None:
    """Rounding may bring the variance of a large constant below zero, whose root would be NaN."""
    x = torch.full((7, 1), 1234.567, dtype=torch.float32)
    norm = nn.BatchNorm1d(1).float()
    assert Moments.of(x).with_each(x).normalise(x, norm).isfinite().all()


def virtual(norm: nn.Module, *, x: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """The authors' way: the reference batch by its own statistics, each sample by a mix of both."""
    places = list(range(2, x.ndim))
    shape = [1, -1] + [1] * len(places)
    mean = reference.mean([0, *places], keepdim=True)
    mean_sq = (reference**2).mean([0, *places], keepdim=True)
    new = 1 / (len(reference) + 1)
    x_mean = new * (x.mean(places, keepdim=True) if places else x) + (1 - new) * mean
    x_mean_sq = new * ((x**2).mean(places, keepdim=True) if places else x**2) + (1 - new) * mean_sq

    def scaled(h: Tensor, m: Tensor, sq: Tensor) -> Tensor:
        h = (h - m) / torch.sqrt(norm.eps + sq - m**2)
        return h * norm.weight.view(shape) + norm.bias.view(shape)

    return scaled(x, x_mean, x_mean_sq), scaled(reference, mean, mean_sq)


class NormG(nn.Module):
    """G with two batch norms; a bias before one has a gradient of rounding errors alone, and is left out as usual."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2, WIDTH, bias=False),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH, bias=False),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, 2),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class VirtualG(NormG):
    """The same as a person would write it."""

    reference: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.reference is None:
            self.reference = x.detach()
        reference = self.reference
        for layer in self.layers:
            if isinstance(layer, nn.BatchNorm1d):
                x, reference = virtual(layer, x=x, reference=reference)
            else:
                x, reference = layer(x), layer(reference)
        return x


class NormD(nn.Module):
    def __init__(self, *, sigmoid: bool = False) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, WIDTH, bias=False), nn.Linear(WIDTH, 1)
        self.norm = nn.BatchNorm1d(WIDTH)
        self.sigmoid = sigmoid

    def forward(self, x: Tensor) -> Tensor:
        logits = self.last(functional.leaky_relu(self.norm(self.first(x)), 0.2))
        return logits.sigmoid() if self.sigmoid else logits


class VirtualD(NormD):
    reference: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.reference is None:
            self.reference = x.detach()
        h, _ = virtual(self.norm, x=self.first(x), reference=self.first(self.reference))
        logits = self.last(functional.leaky_relu(h, 0.2))
        return logits.sigmoid() if self.sigmoid else logits


class NormConvG(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.ConvTranspose2d(2, 6, 4, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.last = nn.ConvTranspose2d(6, 1, 4, 2, 1)

    def forward(self, z: Tensor) -> Tensor:
        return self.last(self.norm(self.first(z[:, :, None, None])).relu()).tanh()


class VirtualConvG(NormConvG):
    reference: Tensor | None = None

    def forward(self, z: Tensor) -> Tensor:
        z = z[:, :, None, None]
        if self.reference is None:
            self.reference = z.detach()
        h, _ = virtual(self.norm, x=self.first(z), reference=self.first(self.reference))
        return self.last(h.relu()).tanh()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: gradients of both passes are the same numbers, summed in another order."""
    ours = script(g=NormG, d=net_for(style), optimizer=optimizer)
    theirs = script(g=VirtualG, d=net_for(style), optimizer=optimizer)
    watched(STYLES[style], ours, ["virtual_batch_norm"], tmp_path)
    train(STYLES[style], theirs)
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_in_g_and_in_d_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6 likewise; D's reference is the first batch that it is given."""
    sigmoid = style == "dcgan"
    ours = script(g=NormG, d=lambda: NormD(sigmoid=sigmoid), optimizer=optimizer)
    theirs = script(g=VirtualG, d=lambda: VirtualD(sigmoid=sigmoid), optimizer=optimizer)
    watched(STYLES[style], ours, ["virtual_batch_norm:role=both"], tmp_path)
    train(STYLES[style], theirs)
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """Statistics over samples and places."""
    ours = script(g=NormConvG, d=ConvD, data=lambda: pictures(20))
    theirs = script(g=VirtualConvG, d=ConvD, data=lambda: pictures(20))
    watched(dcgan, ours, ["virtual_batch_norm"], tmp_path)
    train(dcgan, theirs)
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_samples_are_independent_in_evaluation_too(tmp_path: Path) -> None:
    """A latent's sample is the same alone, among others, and in eval mode; buffers stay as they were made."""

    def loop(s: Script, hand: Hand) -> None:
        s.g(torch.randn(16, 2))
        z = torch.randn(8, 2)
        together = s.g(z)
        torch.testing.assert_close(s.g(z[:1]), together[:1])
        s.g.eval()
        assert torch.equal(s.g(z), together)
        assert not s.g.layers[1].running_mean.any()

    watched(loop, script(g=NormG), ["virtual_batch_norm"], tmp_path)


def test_the_reference_draws_nothing_from_the_scripts_stream(tmp_path: Path) -> None:
    """Dropout in G draws once a forward, as it does without the technique."""

    class DropG(NormG):
        def __init__(self) -> None:
            super().__init__()
            self.layers.insert(3, nn.Dropout(0.3))

    ours, theirs = (script(g=DropG, d=net_for("dcgan")) for _ in range(2))
    watched(dcgan, ours, ["virtual_batch_norm"], tmp_path)
    stream = torch.get_rng_state()
    train(dcgan, theirs)
    assert torch.equal(stream, torch.get_rng_state())


def test_a_first_batch_of_inference_mode_is_a_reference(tmp_path: Path) -> None:
    """A look at G before the loop is its first forward; training then goes on with it."""

    def loop(s: Script, hand: Hand) -> None:
        with torch.inference_mode():
            s.g(torch.randn(4, 2))
        dcgan(s, hand)

    ours = script(g=NormG, d=net_for("dcgan"))
    run = watched(loop, ours, ["virtual_batch_norm"], tmp_path)
    assert all(value.isfinite().all() for value in ours.tensors().values())
    assert run.techniques[0].card.name == "virtual_batch_norm"


def test_a_net_without_batch_norm_is_refused(tmp_path: Path) -> None:
    """There is nothing to change: refused before training, with what to do."""
    with pytest.raises(TechniqueRefused, match=r"G holds no BatchNorm.*role=d"):
        watched(dcgan, script(d=net_for("dcgan")), ["virtual_batch_norm"], tmp_path)


def test_bad_parameters_are_refused() -> None:
    """A role that is none."""
    with pytest.raises(UsageError, match="role must be g, d or both, got 'q'"):
        parse("virtual_batch_norm:role=q")
