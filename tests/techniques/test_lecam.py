"""LeCam: D's outputs are held near the average of what it said of the other side."""

from __future__ import annotations

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
    pictures,
    script,
    train,
    watched,
)
from helpers.uneven_batches import shrinking, uneven
from helpers.unrecorded import unrecorded
from torch import Tensor, nn
from torch.nn import functional

import gandiag
from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.lecam import MovingAverage, lecam_term


def test_what_lies_beyond_the_other_sides_average_costs_its_square() -> None:
    """Reals 3 and 0 against the fakes' 1: (4 + 0) / 2; fakes 0, 1, 5 against the reals' 2: (4 + 1 + 0) / 3."""
    found = lecam_term(
        real=torch.tensor([3.0, 0.0]),
        fake=torch.tensor([0.0, 1.0, 5.0]),
        real_average=torch.tensor(2.0),
        fake_average=torch.tensor(1.0),
    )
    torch.testing.assert_close(found, torch.tensor(2 + 5 / 3))


def test_the_average_is_a_weighted_mean_of_what_was_seen() -> None:
    """After 8, 4 and 2 with decay 0.5: (0.25 * 8 + 0.5 * 4 + 2) / 1.75; the first is the value itself."""
    average = MovingAverage(decay=0.5)
    assert average.update(torch.tensor(8.0)) == 8
    average.update(torch.tensor(4.0))
    torch.testing.assert_close(average.update(torch.tensor(2.0)), torch.tensor(6 / 1.75))


class ByHand(Hand):
    """lam * both squares, with averages as weighted means over everything seen so far."""

    def __init__(self, *, lam: float, decay: float, warmup: int = 0) -> None:
        self.lam, self.decay, self.warmup = lam, decay, warmup
        self.reals, self.fakes = [], []

    def mean(self, seen: list[Tensor]) -> Tensor:
        weights = self.decay ** torch.arange(len(seen) - 1, -1, -1)
        return (weights * torch.stack(seen)).sum() / weights.sum()

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor | None:
        d_real, d_fake = s.d.logits(real), s.d.logits(fake.detach())
        self.reals.append(d_real.mean().detach())
        self.fakes.append(d_fake.mean().detach())
        if len(self.reals) <= self.warmup:
            return None
        over = (d_real - self.mean(self.fakes)).relu() ** 2
        under = (self.mean(self.reals) - d_fake).relu() ** 2
        return self.lam * (over.mean() + under.mean())


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: the twin sums the average over the whole past, gandiag step by step."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["lecam:lam=0.5,decay=0.9"], tmp_path)
    train(STYLES[style], theirs, ByHand(lam=0.5, decay=0.9))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_the_first_steps_only_fill_the_averages(tmp_path: Path) -> None:
    """warmup=20 leaves twenty steps alone, of which the averages know."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    watched(dcgan, ours, ["lecam:lam=0.5,decay=0.9,warmup=20"], tmp_path / "late")
    train(dcgan, theirs, ByHand(lam=0.5, decay=0.9, warmup=20))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)
    never, plain = (script(d=net_for("dcgan")) for _ in range(2))
    watched(dcgan, never, ["lecam:warmup=50"], tmp_path / "never")
    train(dcgan, plain)
    assert_same(never.tensors(), plain.tensors())


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A DCGAN-like D that ends in a 4x4 convolution and a sigmoid is read before the sigmoid; within 1e-6."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=pictures) for _ in range(2))
    watched(dcgan, ours, ["lecam"], tmp_path)
    train(dcgan, theirs, ByHand(lam=0.3, decay=0.99))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_equals_the_hand_written_loop_on_uneven_batches(tmp_path: Path) -> None:
    """Each side is averaged by itself, so fewer reals than fakes make no difference; within 1e-6."""
    ours, theirs = (script(data=shrinking) for _ in range(2))
    watched(uneven, ours, ["lecam"], tmp_path)
    train(uneven, theirs, ByHand(lam=0.3, decay=0.99))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


class TwoCritics(nn.Module):
    """Two discriminators under one optimizer, of which the second one's outputs are far larger."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = D(), D()
        with torch.no_grad():
            self.b.last.bias.fill_(30.0)


def both(s: Script, hands: tuple[Hand, Hand]) -> None:
    for real in s.batches:
        s.optimizer_d.zero_grad()
        fake = s.g(torch.randn(len(real), 2))
        for d, hand in ((s.d.a, hands[0]), (s.d.b, hands[1])):
            (functional.softplus(-d(real)).mean() + functional.softplus(d(fake.detach())).mean()).backward()
            one = Script(s.g, d, s.optimizer_g, s.optimizer_d)
            if (term := hand.d_term(one, real=real, fake=fake.detach())) is not None:
                term.backward()
        s.optimizer_d.step()
        s.optimizer_g.zero_grad()
        (functional.softplus(-s.d.a(fake)).mean() + functional.softplus(-s.d.b(fake)).mean()).backward()
        s.optimizer_g.step()


def test_each_discriminator_has_averages_of_its_own(tmp_path: Path) -> None:
    """One of the two says 30 where the other says 0: neither is drawn to the other's average; within 1e-6."""
    ours, theirs = (script(d=TwoCritics) for _ in range(2))
    with gandiag.watch(
        ours.g, [ours.d.a, ours.d.b], run_dir=tmp_path / "run", techniques=["lecam:lam=0.5,decay=0.9"], strict=True
    ) as run:
        unrecorded(run)
        torch.manual_seed(2)
        both(ours, (Hand(), Hand()))
    torch.manual_seed(2)
    both(theirs, (ByHand(lam=0.5, decay=0.9), ByHand(lam=0.5, decay=0.9)))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("lecam:lam=0", "above zero"),
        ("lecam:decay=1", "between 0 and 1"),
        ("lecam:decay=0", "between 0 and 1"),
        ("lecam:warmup=-1", "0 or more"),
    ],
)
def test_what_means_nothing_is_refused(text: str, because: str) -> None:
    """Zero is no pull, a decay of one never moves, of zero never remembers."""
    with pytest.raises(UsageError, match=because):
        parse(text)


def test_relativistic_losses_are_refused(tmp_path: Path) -> None:
    """Their logits have no zero: only differences are trained, and an average of either side drifts."""
    with pytest.raises(TechniqueRefused, match=r"lecam.*rpgan"):
        watched(dcgan, script(d=net_for("dcgan")), ["lecam", "rpgan_r1_r2"], tmp_path)
