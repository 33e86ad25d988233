"""Several steps of D for each of G."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.gan_loops import CASES, STYLES, Hand, Script, assert_same, dcgan, net_for, ring, script, train, watched
from torch.optim import Optimizer

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.n_critic import NCritic


def test_g_steps_after_each_third_step_of_d() -> None:
    """D D D G, whatever the loop asks in between."""
    technique = NCritic(n=3)
    asked = ["g", "d", "g", "d", "g", "d", "g", "g", "d", "g", "d", "d", "g", "d", "d", "d", "d", "g"]
    taken = [role for role in asked if not technique.skips(role=role)]
    assert "".join(taken) == "dddgg" + "dddg" + "ddddg"


class ByHand(Hand):
    """A count of D's steps since G's last one."""

    def __init__(self, n: int) -> None:
        self.n, self.since = n, 0

    def step(self, s: Script, optimizer: Optimizer) -> None:
        if optimizer is s.optimizer_d:
            self.since += 1
        elif self.since < self.n:
            return
        else:
            self.since = 0
        optimizer.step()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit, moments too; in the third style D takes two steps for each of G by itself."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["n_critic:n=3"], tmp_path)
    train(STYLES[style], theirs, ByHand(3))
    assert_same(ours.tensors(), theirs.tensors())


def two_optimizers(s: Script, hand: Hand) -> None:
    """DCGAN's loop with a second optimizer of G's, right after the first."""
    first, last = s.g.layers[0], s.g.layers[2]
    s.optimizer_g = type(s.optimizer_g)(first.parameters(), lr=1e-3)
    second = type(s.optimizer_g)(last.parameters(), lr=1e-3)
    s.second = second
    plain = hand.step

    def both(s: Script, optimizer: Optimizer) -> None:
        plain(s, optimizer)
        if optimizer is s.optimizer_g:
            second.step()
            second.zero_grad()

    hand.step = both
    dcgan(s, hand)


def test_all_of_gs_optimizers_wait_together(tmp_path: Path) -> None:
    """Of 9 rounds both step in three."""
    ours = script(d=net_for("dcgan"), data=lambda: ring(steps=9))
    watched(two_optimizers, ours, ["n_critic:n=3"], tmp_path)
    for optimizer in (ours.optimizer_g, ours.second):
        assert {int(state["step"]) for state in optimizer.state.values()} == {3}


def test_what_leaves_nothing_out_is_refused(tmp_path: Path) -> None:
    """One is the script as it is; and two rules for the same steps do not go together."""
    with pytest.raises(UsageError, match="n must be 2 or more"):
        parse("n_critic:n=1")
    with pytest.raises(TechniqueRefused, match="choose one"):
        watched(dcgan, script(), ["n_critic", "adaptive_n_critic"], tmp_path)
