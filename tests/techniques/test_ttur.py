"""TTUR: D's learning rate is a multiple of G's."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.gan_loops import CASES, STYLES, Hand, assert_same, dcgan, net_for, script, train, watched
from helpers.unrecorded import unrecorded
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR

import gandiag
from gandiag.techniques.ttur import TTUR


def test_the_rate_of_d_is_a_multiple_of_that_of_g() -> None:
    """Ratio 4: D steps at four times G's rate whatever its own is; G's rate stays."""
    assert TTUR(ratio=4.0).learning_rate(role="d", own=0.1, other=0.25) == 1.0
    assert TTUR(ratio=4.0).learning_rate(role="g", own=0.25, other=0.1) == 0.25


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit the loop whose optimizer of D was made with three times G's rate."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    for group in theirs.optimizer_d.param_groups:
        group["lr"] = 3 * theirs.optimizer_g.param_groups[0]["lr"]
    watched(STYLES[style], ours, ["ttur:ratio=3"], tmp_path)
    train(STYLES[style], theirs)
    assert_same(ours.tensors(), theirs.tensors())


class Decay(Hand):
    """A schedule of G's rate in the script, and, in the twin, of D's with it."""

    def __init__(self, *optimizers: Optimizer) -> None:
        self.schedules = [ExponentialLR(optimizer, 0.9) for optimizer in optimizers]

    def after_g_step(self, s: object) -> None:
        for schedule in self.schedules:
            schedule.step()


def test_the_schedule_of_g_is_followed(tmp_path: Path) -> None:
    """A script that decays G's rate alone: D's effective rate decays with it, and D's own setting is untouched."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    before = ours.optimizer_d.param_groups[0]["lr"]
    hand = Decay(ours.optimizer_g)
    watched(lambda s, _: dcgan(s, hand), ours, ["ttur:ratio=2"], tmp_path)
    for group in theirs.optimizer_d.param_groups:
        group["lr"] = 2 * theirs.optimizer_g.param_groups[0]["lr"]
    train(dcgan, theirs, Decay(theirs.optimizer_g, theirs.optimizer_d))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)  # 2 * (a * 0.9) is not always (2 * a) * 0.9
    assert ours.optimizer_d.param_groups[0]["lr"] == before


def test_optimizers_made_before_the_watching_are_found(tmp_path: Path) -> None:
    """D steps first and G's optimizer has never been seen: its rate is looked up all the same."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    with gandiag.watch(ours.g, ours.d, run_dir=tmp_path / "run", techniques=["ttur:ratio=3"], strict=True) as run:
        unrecorded(run)
        train(dcgan, ours)
    for group in theirs.optimizer_d.param_groups:
        group["lr"] = 3 * theirs.optimizer_g.param_groups[0]["lr"]
    train(dcgan, theirs)
    assert_same(ours.tensors(), theirs.tensors())
