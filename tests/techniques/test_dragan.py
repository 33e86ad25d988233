"""DRAGAN: slopes of one around the data."""

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
from gandiag.techniques.dragan import around


def test_the_points_lie_within_a_box_around_the_samples() -> None:
    """Numbers 0 and 4 have the standard deviation 2: with c = 0.5 no point is further off than 1, on either side."""
    x = torch.tensor([[0.0, 4.0]]).repeat(5000, 1)
    moved = around(x, c=0.5, generator=own_stream()) - x
    assert moved.abs().max() <= 1
    assert moved.min() < -0.99
    assert moved.max() > 0.99
    assert moved.mean().abs() < 0.02  # 3.5 standard errors of 10,000 uniform numbers


def test_one_row_has_a_neighbourhood_too() -> None:
    """The last batch of an epoch may be one picture: its width is that of its own numbers, and finite."""
    near = around(torch.tensor([[0.0, 4.0]]), c=0.5, generator=own_stream())
    assert near.isfinite().all()
    assert near.requires_grad


def test_a_linear_critic_has_the_distance_of_its_slope_from_one() -> None:
    """A slope of 5, wherever it is taken, costs lam * 16."""
    batch = batch_of(Judge(slope_five), real=torch.randn(5, 2), fake=torch.randn(3, 2))
    torch.testing.assert_close(parse("dragan:lam=0.5").d_loss(batch), torch.tensor(8.0))


def test_a_pack_has_one_slope() -> None:
    """D of two samples at a time with slope 5 in each: the pack's slope is the root of 50."""
    batch = batch_of(Judge(slope_five_in_packs), real=torch.randn(6, 2), fake=torch.randn(6, 2), pack=2)
    torch.testing.assert_close(parse("dragan:lam=1").d_loss(batch), torch.tensor((50**0.5 - 1) ** 2))


class ByHand(Hand):
    """lam * E (|dD/dx| - 1)^2 at noisy reals; the noise is from the stream that gandiag uses."""

    def __init__(self, *, lam: float, c: float) -> None:
        self.lam, self.c, self.stream = lam, c, own_stream()

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        std = ((real - real.mean()) ** 2).mean().sqrt()
        noise = torch.rand(real.shape, generator=self.stream) * 2 - 1
        x = (real + self.c * std * noise).requires_grad_()
        (slope,) = torch.autograd.grad(s.d.logits(x).sum(), x, create_graph=True)
        return self.lam * ((slope.square().flatten(1).sum(1) + 1e-12).sqrt() - 1).square().mean()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: the twin takes the standard deviation by its definition, which torch rounds otherwise."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["dragan:lam=0.5,c=0.3"], tmp_path)
    train(STYLES[style], theirs, ByHand(lam=0.5, c=0.3))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """Pictures have one standard deviation for all their pixels; within 1e-6, as above."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=pictures) for _ in range(2))
    watched(dcgan, ours, ["dragan:lam=0.5"], tmp_path)
    train(dcgan, theirs, ByHand(lam=0.5, c=0.5))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_equals_the_hand_written_loop_on_uneven_batches(tmp_path: Path) -> None:
    """The fakes have no part in it; within 1e-6, as above."""
    ours, theirs = (script(data=shrinking) for _ in range(2))
    watched(uneven, ours, ["dragan:lam=0.5"], tmp_path)
    train(uneven, theirs, ByHand(lam=0.5, c=0.5))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


@pytest.mark.parametrize("text", ["dragan:lam=0", "dragan:c=0", "dragan:c=inf"])
def test_strengths_that_mean_nothing_are_refused(text: str) -> None:
    """Zero is no penalty, or no neighbourhood."""
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
    """Batch norm in D, and a penalty that asks for a slope of zero."""
    with pytest.raises(TechniqueRefused, match=r"dragan.*BatchNorm1d"):
        watched(dcgan, script(d=NormD), ["dragan"], tmp_path / "norm")
    with pytest.raises(TechniqueRefused, match=r"dragan.*r1"):
        watched(dcgan, script(d=net_for("dcgan")), ["dragan", "r1"], tmp_path / "both")
