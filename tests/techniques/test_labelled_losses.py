"""The losses that replace the script's, and the penalty at fakes, on a D that is given labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.gan_loops import D, Hand, Script, assert_same, script, train, watched
from torch import Tensor, nn
from torch.nn import functional

Side = tuple[Tensor, Tensor]


class LabelD(D):
    """D(x, y): the label enters with the sample."""

    def __init__(self) -> None:
        super().__init__(inputs=5)
        self.label = nn.Embedding(8, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.logits(torch.cat([x, self.label(y)], dim=1))


def conditional(s: Script, hand: Hand) -> None:
    """Reals and fakes have labels of their own."""
    for i, real in enumerate(s.batches):
        of_real, of_fake = (torch.arange(len(real)) + i) % 8, torch.randint(8, (len(real),))
        s.optimizer_d.zero_grad()
        fake = s.g(torch.randn(len(real), 2))
        loss = functional.softplus(-s.d(real, of_real)).mean() + functional.softplus(s.d(fake.detach(), of_fake)).mean()
        if (own := hand.d_loss(s, real=(real, of_real), fake=(fake.detach(), of_fake))) is not None:
            loss = own
        loss.backward()
        if (term := hand.d_term(s, real=(real, of_real), fake=(fake.detach(), of_fake))) is not None:
            term.backward()
        s.optimizer_d.step()
        s.optimizer_g.zero_grad()
        loss = functional.softplus(-s.d(fake, of_fake)).mean()
        if (own := hand.g_loss(s, real=(real, of_real), fake=(fake, of_fake))) is not None:
            loss = own
        loss.backward()
        s.optimizer_g.step()


class Losses(Hand):
    """Both losses replaced by functions of the logits."""

    def __init__(self, d: Callable[[Tensor, Tensor], Tensor], g: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.d, self.g = d, g

    def d_loss(self, s: Script, *, real: Side, fake: Side) -> Tensor:
        return self.d(s.d(*real), s.d(*fake))

    def g_loss(self, s: Script, *, real: Side, fake: Side) -> Tensor:
        return self.g(s.d(*real).detach(), s.d(*fake))


class SlopeAtFakes(Hand):
    """R2 in the samples, not in their labels."""

    def d_term(self, s: Script, *, real: Side, fake: Side) -> Tensor:
        x = fake[0].requires_grad_()
        (slope,) = torch.autograd.grad(s.d(x, fake[1]).sum(), x, create_graph=True)
        return 0.5 / 2 * slope.square().sum(1).mean()


def average(up: Tensor, down: Tensor) -> Tensor:
    return functional.softplus(-(up - down.mean())).mean() + functional.softplus(down - up.mean()).mean()


BY_HAND: dict[str, Hand] = {
    "hinge": Losses(
        lambda real, fake: functional.relu(1 - real).mean() + functional.relu(1 + fake).mean(),
        lambda real, fake: -fake.mean(),
    ),
    "lsgan": Losses(
        lambda real, fake: 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean(),
        lambda real, fake: 0.5 * (fake - 1).square().mean(),
    ),
    "rpgan": Losses(
        lambda real, fake: functional.softplus(-(real - fake)).mean(),
        lambda real, fake: functional.softplus(-(fake - real)).mean(),
    ),
    "ragan": Losses(average, lambda real, fake: average(fake, real)),
    "non_saturating": Losses(
        lambda real, fake: functional.softplus(-real).mean() + functional.softplus(fake).mean(),
        lambda real, fake: functional.softplus(-fake).mean(),
    ),
    "r2:gamma=0.5": SlopeAtFakes(),
}


@pytest.mark.parametrize("technique", BY_HAND)
def test_each_side_keeps_its_labels(technique: str, tmp_path: Path) -> None:
    """Bit for bit: reals are judged with the labels of the real batch, fakes with theirs, in both steps."""
    ours, theirs = (script(d=LabelD) for _ in range(2))
    watched(conditional, ours, [technique], tmp_path)
    train(conditional, theirs, BY_HAND[technique])
    assert_same(ours.tensors(), theirs.tensors())
