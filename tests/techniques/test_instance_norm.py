"""Instance normalisation in place of batch normalisation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    WIDTH,
    D,
    Hand,
    Script,
    adam,
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
from gandiag.techniques.instance_norm import instance_norm


def test_each_channel_of_a_sample_has_mean_0_and_variance_1() -> None:
    """The places (1, 2, 3, 4) become (-3, -1, 1, 3) / sqrt(5) in each channel; scale and shift follow."""
    norm = nn.BatchNorm1d(2, eps=0.0)
    norm.weight.data, norm.bias.data = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 5.0])
    x = torch.stack([torch.arange(1.0, 5.0), 10 * torch.arange(1.0, 5.0)])[None]
    wanted = torch.tensor([-3.0, -1, 1, 3]) / 5**0.5
    torch.testing.assert_close(instance_norm(x, norm)[0], torch.stack([wanted, 2 * wanted + 5]))


class NormConvD(nn.Module):
    """A convolutional D with a normalisation layer."""

    def __init__(self, norm: nn.Module, *, sigmoid: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 4, 2, 1)
        self.norm = norm
        self.last = nn.Conv2d(6, 1, 4)
        self.sigmoid = sigmoid

    def forward(self, x: Tensor) -> Tensor:
        logits = self.last(functional.leaky_relu(self.norm(self.first(x)), 0.2)).view(-1, 1)
        return logits.sigmoid() if self.sigmoid else logits


class NormConvG(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.first = nn.ConvTranspose2d(2, 6, 4)
        self.norm = norm
        self.last = nn.ConvTranspose2d(6, 1, 4, 2, 1)

    def forward(self, z: Tensor) -> Tensor:
        return self.last(self.norm(self.first(z[:, :, None, None])).relu()).tanh()


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def batch() -> nn.Module:
    return nn.BatchNorm2d(6)


def instance() -> nn.Module:
    return nn.InstanceNorm2d(6, affine=True)


def compare(ours: Script, theirs: Script) -> None:
    """The batch norm's statistics, which the other layer lacks, stay where they were made."""
    found = ours.tensors()
    for name in [name for name in found if name.endswith(STATISTICS)]:
        value = found.pop(name)
        assert torch.equal(value, torch.full_like(value, name.endswith("running_var")))
    assert_same(found, theirs.tensors())


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit torch's own layer, with the weights of the batch norm, in D and in G."""

    def made(norm: Callable[[], nn.Module]) -> Script:
        sigmoid = style == "dcgan"
        d = lambda: NormConvD(norm(), sigmoid=sigmoid)  # noqa: E731
        return script(g=lambda: NormConvG(norm()), d=d, optimizer=optimizer, data=pictures)

    ours, theirs = made(batch), made(instance)
    watched(STYLES[style], ours, ["instance_norm:role=both"], tmp_path)
    train(STYLES[style], theirs)
    compare(ours, theirs)


def test_d_alone_equals_the_hand_written_loop(tmp_path: Path) -> None:
    """The default leaves G's batch normalisation as it is, statistics and all."""
    data = lambda: pictures(20)  # noqa: E731
    ours = script(g=lambda: NormConvG(batch()), d=lambda: NormConvD(batch()), optimizer=adam, data=data)
    theirs = script(g=lambda: NormConvG(batch()), d=lambda: NormConvD(instance()), optimizer=adam, data=data)
    watched(dcgan, ours, ["instance_norm"], tmp_path)
    train(dcgan, theirs)
    found = {name: value for name, value in ours.tensors().items() if not name.startswith("d.norm.r")}
    del found["d.norm.num_batches_tracked"]
    assert_same(found, theirs.tensors())


def test_evaluation_has_no_statistics_either(tmp_path: Path) -> None:
    """In eval mode a sample's own places count, as in training."""

    def loop(s: Script, hand: Hand) -> None:
        x = s.batches[0]
        together = s.d(x)
        torch.testing.assert_close(s.d(x[:1]), together[:1])
        s.d.eval()
        assert torch.equal(s.d(x), together)

    watched(loop, script(d=lambda: NormConvD(batch()), data=lambda: pictures(2)), ["instance_norm"], tmp_path)


def test_one_number_a_channel_is_refused(tmp_path: Path) -> None:
    """Behind a linear layer a channel is one number: refused before training, with what to do."""

    class NormD(D):
        def __init__(self) -> None:
            super().__init__(sigmoid=True)
            self.norm = nn.BatchNorm1d(WIDTH)

        def features(self, x: Tensor) -> Tensor:
            return self.norm(super().features(x))

    with pytest.raises(TechniqueRefused, match="one number a channel; use layer_norm"):
        watched(dcgan, script(d=NormD), ["instance_norm"], tmp_path)


def test_a_net_without_batch_norm_is_refused(tmp_path: Path) -> None:
    """There is nothing to change: refused before training, with what to do."""
    with pytest.raises(TechniqueRefused, match=r"D holds no BatchNorm.*role=g"):
        watched(dcgan, script(d=net_for("dcgan")), ["instance_norm"], tmp_path)


def test_bad_parameters_are_refused() -> None:
    """A role that is none."""
    with pytest.raises(UsageError, match="role must be g, d or both, got 'q'"):
        parse("instance_norm:role=q")
