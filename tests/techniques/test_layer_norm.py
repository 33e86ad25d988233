"""Layer normalisation in place of batch normalisation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    WIDTH,
    ConvD,
    ConvG,
    D,
    G,
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

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.layer_norm import layer_norm


def test_each_sample_has_mean_0_and_variance_1() -> None:
    """(1, 2, 3, 4) becomes (-3, -1, 1, 3) / sqrt(5), whatever the other samples are; scale and shift follow."""
    norm = nn.BatchNorm1d(4, eps=0.0)
    norm.weight.data, norm.bias.data = torch.tensor([1.0, 1, 1, 2]), torch.tensor([0.0, 0, 0, 1])
    x = torch.stack([torch.arange(1.0, 5.0), torch.randn(4)])
    wanted = torch.tensor([-3.0, -1, 1, 3]) / 5**0.5 * norm.weight + norm.bias
    torch.testing.assert_close(layer_norm(x, norm)[0], wanted)


def test_a_picture_has_one_mean() -> None:
    """Channels and places together: torch's layer_norm over all of them."""
    x = torch.randn(3, 2, 4, 5)
    wanted = nn.functional.layer_norm(x, x.shape[1:])
    torch.testing.assert_close(layer_norm(x, nn.BatchNorm2d(2)), wanted)


class NormD(D):
    """D with a normalisation layer."""

    def __init__(self, norm: nn.Module, *, sigmoid: bool = False) -> None:
        super().__init__(sigmoid=sigmoid)
        self.norm = norm

    def features(self, x: Tensor) -> Tensor:
        return self.norm(super().features(x))


class NormConvD(ConvD):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def features(self, x: Tensor) -> Tensor:
        return self.norm(super().features(x))


class NormG(G):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.layers.insert(1, norm)


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def compare(ours: Script, theirs: Script) -> None:
    """The batch norm's statistics, which the other layer lacks, stay where they were made."""
    found = ours.tensors()
    for name in [name for name in found if name.endswith(STATISTICS)]:
        value = found.pop(name)
        assert torch.equal(value, torch.full_like(value, name.endswith("running_var")))
    assert_same(found, theirs.tensors())


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit torch's own layer, with the weights of the batch norm."""
    sigmoid = style == "dcgan"
    ours = script(d=lambda: NormD(nn.BatchNorm1d(WIDTH), sigmoid=sigmoid), optimizer=optimizer)
    theirs = script(d=lambda: NormD(nn.GroupNorm(1, WIDTH), sigmoid=sigmoid), optimizer=optimizer)
    watched(STYLES[style], ours, ["layer_norm"], tmp_path)
    train(STYLES[style], theirs)
    compare(ours, theirs)


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """Feature maps, and a batch norm without scale and shift in G."""
    data = lambda: pictures(20)  # noqa: E731
    ours = script(g=ConvG, d=lambda: NormConvD(nn.BatchNorm2d(6)), data=data)
    theirs = script(g=ConvG, d=lambda: NormConvD(nn.GroupNorm(1, 6)), data=data)
    watched(dcgan, ours, ["layer_norm"], tmp_path)
    train(dcgan, theirs)
    compare(ours, theirs)


@pytest.mark.parametrize("affine", [True, False])
def test_in_g_and_in_d(affine: bool, tmp_path: Path) -> None:
    """role=both changes both, with or without a scale and a shift."""
    bn, gn = (
        lambda: nn.BatchNorm1d(WIDTH, affine=affine),
        lambda: nn.GroupNorm(1, WIDTH, affine=affine),
    )
    ours = script(g=lambda: NormG(bn()), d=lambda: NormD(bn(), sigmoid=True))
    theirs = script(g=lambda: NormG(gn()), d=lambda: NormD(gn(), sigmoid=True))
    watched(dcgan, ours, ["layer_norm:role=both"], tmp_path)
    train(dcgan, theirs)
    compare(ours, theirs)


def test_a_sample_is_judged_by_itself(tmp_path: Path) -> None:
    """In train and in eval mode alike, D's output for a sample is the same with and without the others."""

    def loop(s: Script, hand: Hand) -> None:
        x = s.batches[0]
        together = s.d(x)
        torch.testing.assert_close(s.d(x[:1]), together[:1])
        s.d.eval()
        assert torch.equal(s.d(x), together)

    watched(loop, script(d=lambda: NormD(nn.BatchNorm1d(WIDTH))), ["layer_norm"], tmp_path)


def test_a_net_without_batch_norm_is_refused(tmp_path: Path) -> None:
    """There is nothing to change: refused before training, with what to do."""
    with pytest.raises(TechniqueRefused, match=r"D holds no BatchNorm.*role=g"):
        watched(dcgan, script(d=net_for("dcgan")), ["layer_norm"], tmp_path)


def test_bad_parameters_are_refused() -> None:
    """A role that is none."""
    with pytest.raises(UsageError, match="role must be g, d or both, got 'q'"):
        parse("layer_norm:role=q")
