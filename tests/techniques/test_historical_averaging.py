"""Historical averaging."""

from __future__ import annotations

import copy
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
from torch import Tensor, nn

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.historical_averaging import HistoricalAveraging


def test_three_values_by_hand() -> None:
    """1, 3, 8: the means are 1, 2, 4, so the penalties are 0, 1, 16."""
    net = nn.Linear(1, 1, bias=False)
    technique = HistoricalAveraging(d=1.0)
    for value, wanted in ((1.0, 0.0), (3.0, 1.0), (8.0, 16.0)):
        with torch.no_grad():
            net.weight.fill_(value)
        torch.testing.assert_close(technique.weights_loss(role="d", nets=[net]), torch.tensor(wanted))


def test_the_mean_is_that_of_all_past_values() -> None:
    """On a random walk: against the mean of a list, anew at each step."""
    net = nn.Linear(3, 2)
    technique, past = HistoricalAveraging(g=1.0), []
    for _ in range(30):
        with torch.no_grad():
            for p in net.parameters():
                p += torch.randn(p.shape)
        now = torch.cat([p.detach().flatten() for p in net.parameters()])
        past.append(now)
        wanted = (now - torch.stack(past).mean(dim=0)).square().sum()
        torch.testing.assert_close(technique.weights_loss(role="g", nets=[net]).detach(), wanted)


class ByHand(Hand):
    """A copy of each net, moved towards it by 1 / t before each loss."""

    def __init__(self, *, d: float, g: float) -> None:
        self.d, self.g = d, g
        self.copies: dict[nn.Module, tuple[int, nn.Module]] = {}

    def term(self, net: nn.Module) -> Tensor:
        t, mean = self.copies.get(net) or (0, copy.deepcopy(net))
        t += 1
        self.copies[net] = (t, mean)
        total = torch.zeros(())
        for p, m in zip(net.parameters(), mean.parameters(), strict=True):
            m.data += (p.data - m.data) / t
            total = total + ((p - m.data) ** 2).sum()
        return total

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor | None:
        return self.d * self.term(s.d) if self.d else None

    def g_term(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        return self.g * self.term(s.g) if self.g else None


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: the running mean is moved by a quotient here, by a share there."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["historical_averaging:d=0.5,g=2"], tmp_path)
    train(STYLES[style], theirs, ByHand(d=0.5, g=2.0))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """G alone."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    watched(dcgan, ours, ["historical_averaging:d=0,g=1"], tmp_path)
    train(dcgan, theirs, ByHand(d=0.0, g=1.0))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


@pytest.mark.parametrize("wrong", ["d=-1", "g=inf", "d=0,g=0"])
def test_strengths_that_mean_nothing_are_refused(wrong: str) -> None:
    """Negative, infinite, or none at all."""
    with pytest.raises(UsageError, match=wrong[0]):
        parse(f"historical_averaging:{wrong}")
