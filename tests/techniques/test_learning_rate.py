"""Factors on the learning rates."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.gan_loops import CASES, STYLES, Hand, Script, assert_same, dcgan, net_for, script, train, watched
from torch.optim.lr_scheduler import ExponentialLR

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.learning_rate import LearningRate


def test_each_player_has_its_factor() -> None:
    """0.25 of 0.4 for D, twice it for G."""
    technique = LearningRate(d=0.25, g=2.0)
    assert technique.options(role="d", own={"lr": 0.4}) == {"lr": 0.1}
    assert technique.options(role="g", own={"lr": 0.4}) == {"lr": 0.8}


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit the loop whose rates were multiplied before it; the script still sees its own."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    before = theirs.optimizer_d.param_groups[0]["lr"]
    theirs.optimizer_d.param_groups[0]["lr"] *= 0.3
    theirs.optimizer_g.param_groups[0]["lr"] *= 1.5
    watched(STYLES[style], ours, ["learning_rate:d=0.3,g=1.5"], tmp_path)
    train(STYLES[style], theirs)
    assert_same(ours.tensors(), theirs.tensors())
    assert ours.optimizer_d.param_groups[0]["lr"] == ours.optimizer_g.param_groups[0]["lr"] == before


def test_each_group_keeps_its_rate(tmp_path: Path) -> None:
    """A D whose last layer learns faster does so still: bit for bit."""
    scripts = []
    for factor in (1.0, 0.5):
        s = script(d=net_for("dcgan"))
        last = list(s.d.last.parameters())
        rest = [p for p in s.d.parameters() if not any(p is q for q in last)]
        groups = [{"params": rest, "lr": 1e-3 * factor}, {"params": last, "lr": 4e-3 * factor}]
        s.optimizer_d = type(s.optimizer_d)(groups, betas=(0.5, 0.99))
        scripts.append(s)
    ours, theirs = scripts
    watched(dcgan, ours, ["learning_rate:d=0.5,g=1"], tmp_path)
    train(dcgan, theirs)
    assert_same(ours.tensors(), theirs.tensors())


class Schedule(Hand):
    """A scheduler of the script's own."""

    def __init__(self, s: Script) -> None:
        self.schedules = [ExponentialLR(optimizer, 0.9) for optimizer in (s.optimizer_d, s.optimizer_g)]

    def after_g_step(self, s: Script) -> None:
        for schedule in self.schedules:
            schedule.step()


def test_a_schedule_is_followed(tmp_path: Path) -> None:
    """The factor lies on top of it: within 1e-6, as the twin's factors are multiplied in another order."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    hand = Schedule(ours)
    watched(lambda s, _: dcgan(s, hand), ours, ["learning_rate:d=0.3,g=0.7"], tmp_path)
    theirs.optimizer_d.param_groups[0]["lr"] *= 0.3
    theirs.optimizer_g.param_groups[0]["lr"] *= 0.7
    train(dcgan, theirs, Schedule(theirs))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_factors_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    """Neither zero, nor both one; and ttur sets D's rate as well."""
    with pytest.raises(UsageError, match="d must be above zero"):
        parse("learning_rate:d=0")
    with pytest.raises(UsageError, match="give a factor"):
        parse("learning_rate:d=1,g=1")
    with pytest.raises(TechniqueRefused, match="choose one"):
        watched(dcgan, script(), ["learning_rate", "ttur"], tmp_path)
