"""The gradient penalty of WGAN-GP beside the script's own loss."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.batches import Judge, batch_of, slope_five, slope_five_in_packs
from helpers.gan_loops import (
    CASES,
    STYLES,
    ConvD,
    ConvG,
    D,
    Hand,
    Script,
    assert_same,
    dcgan,
    net_for,
    own_stream,
    pictures,
    script,
    train,
    watched,
)
from helpers.uneven_batches import shrinking, uneven
from torch import Tensor, nn

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.wgan_gp import between


def test_the_points_lie_on_the_lines_from_real_to_fake() -> None:
    """From (0, 0) to (3, 4): both numbers in that ratio, all along the line, for as many pairs as there are."""
    real, fake = torch.zeros(2000, 2), torch.tensor([[3.0, 4.0]]).repeat(1000, 1)
    mixed = between(real=real, fake=fake, generator=own_stream())
    assert mixed.shape == (1000, 2)
    assert mixed.requires_grad
    torch.testing.assert_close(mixed[:, 0] * 4, mixed[:, 1] * 3)
    assert 0 <= mixed.min() < 0.03
    assert 3.97 < mixed.max() <= 4


def test_a_linear_critic_has_the_distance_of_its_slope_from_one() -> None:
    """A slope of 5, wherever it is taken, costs lam * 16."""
    batch = batch_of(Judge(slope_five), real=torch.randn(5, 2), fake=torch.randn(3, 2))
    torch.testing.assert_close(parse("gradient_penalty:lam=0.5").d_loss(batch), torch.tensor(8.0))


def test_a_pack_has_one_slope() -> None:
    """D of two samples at a time with slope 5 in each: the pack's slope is the root of 50."""
    batch = batch_of(Judge(slope_five_in_packs), real=torch.randn(6, 2), fake=torch.randn(6, 2), pack=2)
    torch.testing.assert_close(parse("gradient_penalty:lam=1").d_loss(batch), torch.tensor((50**0.5 - 1) ** 2))


class ByHand(Hand):
    """lam * E (|dD/dx| - 1)^2 at mixtures; their shares are from the stream that gandiag uses."""

    def __init__(self, *, lam: float) -> None:
        self.lam, self.stream = lam, own_stream()

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        n = min(len(real), len(fake))
        share = torch.rand(n, *[1] * (real.ndim - 1), generator=self.stream)
        x = (share * real[:n] + (1 - share) * fake[:n].detach()).requires_grad_()
        (slope,) = torch.autograd.grad(s.d.logits(x).sum(), x, create_graph=True)
        return self.lam * ((slope.square().flatten(1).sum(1) + 1e-12).sqrt() - 1).square().mean()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit: the same term's gradient is added to the same gradients."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["gradient_penalty:lam=0.5"], tmp_path)
    train(STYLES[style], theirs, ByHand(lam=0.5))
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A picture has one share for all its pixels; D is read before its sigmoid."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=pictures) for _ in range(2))
    watched(dcgan, ours, ["gradient_penalty:lam=0.5"], tmp_path)
    train(dcgan, theirs, ByHand(lam=0.5))
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_loop_on_uneven_batches(tmp_path: Path) -> None:
    """As many mixtures as there are pairs."""
    ours, theirs = (script(data=shrinking) for _ in range(2))
    watched(uneven, ours, ["gradient_penalty:lam=0.5"], tmp_path)
    train(uneven, theirs, ByHand(lam=0.5))
    assert_same(ours.tensors(), theirs.tensors())


def test_it_is_what_wgan_gp_adds_to_the_wasserstein_loss(tmp_path: Path) -> None:
    """On a Wasserstein loop the penalty alone makes it WGAN-GP; within 1e-6, as it is added afterwards."""
    ours, theirs = (script() for _ in range(2))
    watched(STYLES["n_critic"], ours, ["gradient_penalty:lam=0.5"], tmp_path / "added")
    watched(STYLES["n_critic"], theirs, ["wgan_gp:lam=0.5"], tmp_path / "whole")
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


@pytest.mark.parametrize("text", ["gradient_penalty:lam=0", "gradient_penalty:lam=-1"])
def test_strengths_that_mean_nothing_are_refused(text: str) -> None:
    """Zero is no penalty."""
    with pytest.raises(UsageError, match="above zero"):
        parse(text)


class NormD(D):
    """D with batch normalisation."""

    def __init__(self) -> None:
        super().__init__(sigmoid=True)
        self.norm = nn.BatchNorm1d(self.middle.out_features)

    def features(self, x: Tensor) -> Tensor:
        return self.norm(super().features(x))


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    """Batch norm in D, and a recipe that has the penalty already."""
    with pytest.raises(TechniqueRefused, match=r"gradient_penalty.*BatchNorm1d"):
        watched(dcgan, script(d=NormD), ["gradient_penalty"], tmp_path / "norm")
    with pytest.raises(TechniqueRefused, match=r"gradient_penalty.*wgan_gp"):
        watched(dcgan, script(d=net_for("dcgan")), ["gradient_penalty", "wgan_gp"], tmp_path / "both")
