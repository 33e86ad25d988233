"""RaGAN: real samples against the mean fake, and the reverse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    ConvD,
    ConvG,
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
from torch import Tensor
from torch.nn import functional

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.ragan import ragan_d, ragan_g


def test_each_sample_meets_the_mean_of_the_other_side() -> None:
    """Reals at 3 and 1 (mean 2), a fake at -1: distances 4 and 2 for the reals, -3 for the fake."""
    real, fake = torch.tensor([3.0, 1.0]), torch.tensor([-1.0])
    d = [functional.softplus(torch.tensor(value)) for value in (-4.0, -2.0, -3.0)]
    torch.testing.assert_close(ragan_d(real=real, fake=fake), (d[0] + d[1]) / 2 + d[2])
    g = [functional.softplus(torch.tensor(value)) for value in (4.0, 2.0, 3.0)]
    torch.testing.assert_close(ragan_g(real=real, fake=fake), (g[0] + g[1]) / 2 + g[2])


def test_it_is_the_authors_code_without_its_halves() -> None:
    """Cross-entropy on what is left of the logits, with targets 1 and 0, and exchanged for G."""
    real, fake = torch.randn(5, 1), torch.randn(3, 1)
    one, zero = torch.ones(5, 1), torch.zeros(3, 1)
    bce = functional.binary_cross_entropy_with_logits
    above, below = real - fake.mean(), fake - real.mean()
    torch.testing.assert_close(ragan_d(real=real, fake=fake), bce(above, one) + bce(below, zero))
    torch.testing.assert_close(ragan_g(real=real, fake=fake), bce(above, 1 - one) + bce(below, 1 - zero))


def test_only_differences_count() -> None:
    """A constant added to all logits changes nothing, and where D knows nothing the loss is 2 log 2."""
    real, fake = torch.randn(5, 1), torch.randn(3, 1)
    torch.testing.assert_close(ragan_d(real=real + 7, fake=fake + 7), ragan_d(real=real, fake=fake))
    torch.testing.assert_close(ragan_d(real=torch.ones(5), fake=torch.ones(3)), 2 * torch.tensor(2.0).log())


def test_real_samples_pull_on_g_too() -> None:
    """The gradient at a fake has a share of the reals' term, which a loss of the fakes alone would lack."""
    fake = torch.zeros(2, requires_grad=True)
    ragan_g(real=torch.zeros(2), fake=fake).backward()
    assert torch.equal(fake.grad, torch.full((2,), -0.5))


class ByHand(Hand):
    """Both losses replaced; the real samples stay in G's."""

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        d_real, d_fake = s.d.logits(real), s.d.logits(fake.detach())
        real_over_fake, fake_over_real = d_real - d_fake.mean(), d_fake - d_real.mean()
        return functional.softplus(-real_over_fake).mean() + functional.softplus(fake_over_real).mean()

    def g_loss(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        # A loop that steps G first has its own loss in the first round: gandiag has seen no real batch yet.
        if real is None:
            return None
        d_real, d_fake = s.d.logits(real).detach(), s.d.logits(fake)
        real_over_fake, fake_over_real = d_real - d_fake.mean(), d_fake - d_real.mean()
        return functional.softplus(-fake_over_real).mean() + functional.softplus(real_over_fake).mean()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit, whatever losses the script has: nothing of them is left."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["ragan"], tmp_path)
    train(STYLES[style], theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A DCGAN-like D that ends in a 4x4 convolution and a sigmoid is read before the sigmoid."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=pictures) for _ in range(2))
    watched(dcgan, ours, ["ragan"], tmp_path)
    train(dcgan, theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_loop_on_uneven_batches(tmp_path: Path) -> None:
    """Each side meets the other's mean only, so fewer reals than fakes make no difference."""
    ours, theirs = (script(data=shrinking) for _ in range(2))
    watched(uneven, ours, ["ragan"], tmp_path)
    train(uneven, theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    """There is nothing to set, and smoothed labels are cross-entropy's."""
    with pytest.raises(UsageError, match="none"):
        parse("ragan:gamma=1")
    with pytest.raises(TechniqueRefused, match=r"ragan.*label_smoothing"):
        watched(dcgan, script(d=net_for("dcgan")), ["ragan", "label_smoothing"], tmp_path)
