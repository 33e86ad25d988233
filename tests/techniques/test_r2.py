"""R2: the slope of D at fake samples."""

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
    pictures,
    script,
    train,
    watched,
)
from helpers.uneven_batches import shrinking, uneven
from torch import Tensor, nn

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse


def test_a_critic_that_is_steep_at_fakes_alone_pays() -> None:
    """D(x) = relu(3 x_1 + 4 x_2) has slope 5 at the fakes and none at the reals: 25 * gamma / 2."""
    critic = Judge(lambda x: slope_five(x).relu())
    assert parse("r2:gamma=0.2").d_loss(batch_of(critic, real=-torch.ones(4, 2), fake=torch.ones(6, 2))) == 2.5
    assert critic.asked == ["fake"]


def test_a_pack_has_one_slope() -> None:
    """D of two samples at a time: the pack's slope has 25 from each of them."""
    x = torch.randn(6, 2)
    assert parse("r2:gamma=2").d_loss(batch_of(Judge(slope_five_in_packs), real=x, fake=x, pack=2)) == 50


def test_lazy_steps_are_those_of_the_discriminator() -> None:
    """every=2: at a discriminator's first and third step, not at the second."""
    technique, batch = parse("r2:every=2"), batch_of(Judge(slope_five), real=torch.ones(4, 2), fake=torch.ones(4, 2))
    acted = []
    for batch.step in range(3):
        acted.append(technique.d_loss(batch) is not None)
    assert acted == [True, False, True]


class ByHand(Hand):
    """gamma / 2 * E |dD/dx|^2 at the fake batch, every n-th step n times as strong."""

    def __init__(self, *, gamma: float, every: int = 1) -> None:
        self.gamma, self.every, self.count = gamma, every, 0

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor | None:
        self.count += 1
        if (self.count - 1) % self.every:
            return None
        x = fake.detach().requires_grad_()
        (slope,) = torch.autograd.grad(s.d.logits(x).sum(), x, create_graph=True)
        return self.every * self.gamma / 2 * slope.square().flatten(1).sum(1).mean()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit: the same term's gradient is added to the same gradients."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["r2:gamma=0.5"], tmp_path)
    train(STYLES[style], theirs, ByHand(gamma=0.5))
    assert_same(ours.tensors(), theirs.tensors())


def test_lazy_regularisation_equals_the_hand_written_loop(tmp_path: Path) -> None:
    """every=3 acts at steps 1, 4, 7 and so on, three times as strong."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    run = watched(dcgan, ours, ["r2:gamma=0.5,every=3"], tmp_path)
    train(dcgan, theirs, ByHand(gamma=0.5, every=3))
    assert_same(ours.tensors(), theirs.tensors())
    assert run.interventions.counts == {"r2": 17}


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A DCGAN-like D that ends in a 4x4 convolution and a sigmoid is read before the sigmoid."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=pictures) for _ in range(2))
    watched(dcgan, ours, ["r2:gamma=0.5"], tmp_path)
    train(dcgan, theirs, ByHand(gamma=0.5))
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_loop_on_uneven_batches(tmp_path: Path) -> None:
    """The mean is over the fakes, however few reals go with them."""
    ours, theirs = (script(data=shrinking) for _ in range(2))
    watched(uneven, ours, ["r2:gamma=0.5"], tmp_path)
    train(uneven, theirs, ByHand(gamma=0.5))
    assert_same(ours.tensors(), theirs.tensors())


class Both(ByHand):
    """R1 and R2, each with its own strength."""

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        x = real.detach().requires_grad_()
        (slope,) = torch.autograd.grad(s.d.logits(x).sum(), x, create_graph=True)
        return 0.25 / 2 * slope.square().sum(1).mean() + super().d_term(s, real=real, fake=fake)


def test_with_r1_it_equals_the_hand_written_loop(tmp_path: Path) -> None:
    """Within 1e-6: gandiag adds the two terms' gradients one after the other."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    watched(dcgan, ours, ["r1:gamma=0.25", "r2:gamma=0.5"], tmp_path)
    train(dcgan, theirs, Both(gamma=0.5))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


@pytest.mark.parametrize("text", ["r2:gamma=0", "r2:gamma=-1", "r2:every=0"])
def test_strengths_that_mean_nothing_are_refused(text: str) -> None:
    """Zero is no penalty, and every zeroth step is none."""
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
    """Batch norm in D, and a penalty that asks for a slope of one."""
    with pytest.raises(TechniqueRefused, match=r"r2.*BatchNorm1d"):
        watched(dcgan, script(d=NormD), ["r2"], tmp_path / "norm")
    with pytest.raises(TechniqueRefused, match=r"r2.*wgan_gp"):
        watched(dcgan, script(d=net_for("dcgan")), ["r2", "wgan_gp"], tmp_path / "both")
