"""WGAN-LP: the Wasserstein loss with a penalty on slopes above one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
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
from gandiag.techniques.wgan_lp import slope_excess


@pytest.mark.parametrize(("scale", "cost"), [(1.0, 16.0), (0.2, 0.0), (0.1, 0.0), (0.0, 0.0)])
def test_only_slopes_above_one_cost(scale: float, cost: float) -> None:
    """D(x) = scale * (3 x_1 + 4 x_2) has slope 5 * scale: 5 costs 16, what is not above one costs nothing."""
    weight = (scale * torch.tensor([[3.0], [4.0]])).requires_grad_()
    x = torch.randn(5, 2, requires_grad=True)
    excess = slope_excess(x @ weight, x)
    torch.testing.assert_close(excess, torch.full((5,), cost), atol=1e-12, rtol=1e-7)
    excess.mean().backward()
    assert weight.grad.isfinite().all()  # also where D is dead, which the bare root is not


def test_a_pack_has_one_slope() -> None:
    """D of two samples at a time with slope 5 in each: the pack's slope is the root of 50."""
    x = torch.randn(6, 2, requires_grad=True)
    logits = x.view(3, 4) @ torch.tensor([[3.0], [4.0], [3.0], [4.0]])
    torch.testing.assert_close(slope_excess(logits, x, pack=2), torch.full((3,), (50**0.5 - 1) ** 2))


def steep(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """A D whose slope is above one from the start, where fresh ones are flat: else the penalty would be zero."""

    def made() -> nn.Module:
        d = make()
        with torch.no_grad():
            d.last.weight.mul_(20)
        return d

    return made


class ByHand(Hand):
    """Both losses replaced; mixtures from the stream that gandiag uses."""

    def __init__(self, *, lam: float) -> None:
        self.lam, self.stream = lam, own_stream()

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        n = min(len(real), len(fake))
        share = torch.rand(n, *[1] * (real.ndim - 1), generator=self.stream)
        mixed = (share * real[:n] + (1 - share) * fake[:n]).detach().requires_grad_()
        (slope,) = torch.autograd.grad(s.d.logits(mixed).sum(), mixed, create_graph=True)
        excess = ((slope.square().flatten(1).sum(1) + 1e-12).sqrt() - 1).clamp(min=0)
        return s.d.logits(fake.detach()).mean() - s.d.logits(real).mean() + self.lam * excess.square().mean()

    def g_loss(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        # A loop that steps G first has its own loss in the first round: gandiag has seen no real batch yet.
        return None if real is None else -s.d.logits(fake).mean()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit, whatever losses the script has: nothing of them is left."""
    ours, theirs = (script(d=steep(net_for(style)), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["wgan_lp:lam=0.3"], tmp_path)
    train(STYLES[style], theirs, ByHand(lam=0.3))
    assert_same(ours.tensors(), theirs.tensors())


@pytest.mark.parametrize("style", STYLES)
def test_the_penalty_acts_in_these_loops(style: str, tmp_path: Path) -> None:
    """The other side of the test above: D's slope is above one, so that another strength ends elsewhere."""
    weak, strong = (script(d=steep(net_for(style))) for _ in range(2))
    watched(STYLES[style], weak, ["wgan_lp:lam=0.3"], tmp_path / "weak")
    watched(STYLES[style], strong, ["wgan_lp:lam=3"], tmp_path / "strong")
    assert (weak.d.first.weight - strong.d.first.weight).abs().max() > 1e-3


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A DCGAN-like D that ends in a 4x4 convolution and a sigmoid is read before the sigmoid."""
    ours, theirs = (script(g=ConvG, d=steep(ConvD), data=pictures) for _ in range(2))
    watched(dcgan, ours, ["wgan_lp:lam=0.3"], tmp_path)
    train(dcgan, theirs, ByHand(lam=0.3))
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_loop_on_uneven_batches(tmp_path: Path) -> None:
    """As many mixtures as there are pairs; the loss itself is over all that there is."""
    ours, theirs = (script(d=steep(D), data=shrinking) for _ in range(2))
    watched(uneven, ours, ["wgan_lp:lam=0.3"], tmp_path)
    train(uneven, theirs, ByHand(lam=0.3))
    assert_same(ours.tensors(), theirs.tensors())


@pytest.mark.parametrize("text", ["wgan_lp:lam=0", "wgan_lp:lam=-1"])
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
    """Batch norm in D, and smoothed labels, which are cross-entropy's."""
    with pytest.raises(TechniqueRefused, match=r"wgan_lp.*BatchNorm1d"):
        watched(dcgan, script(d=NormD), ["wgan_lp"], tmp_path / "norm")
    with pytest.raises(TechniqueRefused, match=r"wgan_lp.*label_smoothing"):
        watched(dcgan, script(d=net_for("dcgan")), ["wgan_lp", "label_smoothing"], tmp_path / "both")
