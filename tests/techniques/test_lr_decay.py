"""Learning-rate decay."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from helpers.gan_loops import CASES, STYLES, Hand, Script, assert_same, dcgan, net_for, ring, script, train, watched
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.lr_decay import decay


def test_a_line() -> None:
    """From 1 at step 10 to 0.2 at step 18: half-way it is 0.6, and it stays at the end."""
    found = [decay(step, after=10, over=8, to=0.2, shape="linear") for step in (0, 10, 14, 18, 99)]
    assert found == pytest.approx([1, 1, 0.6, 0.2, 0.2])


def test_a_cosine() -> None:
    """It leaves its start and reaches its end flat; a third of the way it has lost a quarter."""
    found = [decay(step, after=0, over=6, to=0.0, shape="cosine") for step in (0, 2, 3, 6)]
    assert found == pytest.approx([1, 0.75, 0.5, 0])


class ByHand(Hand):
    """The rate is set before each step, from a count of the steps of its own optimizer."""

    def __init__(self, s: Script, *, over: int, after: int = 0, to: float = 0.0, cosine: bool = False) -> None:
        self.full = {id(o): o.param_groups[0]["lr"] for o in (s.optimizer_d, s.optimizer_g)}
        self.steps = dict.fromkeys(self.full, 0)
        self.over, self.after, self.to, self.cosine = over, after, to, cosine

    def before_step(self, net: nn.Module, optimizer: Optimizer) -> None:
        done = min(max(self.steps[id(optimizer)] - self.after, 0), self.over) / self.over
        factor = 0.5 + 0.5 * math.cos(math.pi * done) if self.cosine else 1 - done
        optimizer.param_groups[0]["lr"] = self.full[id(optimizer)] * (self.to + (1 - self.to) * factor)
        self.steps[id(optimizer)] += 1


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit; in the third style D takes two steps for each of G, and each counts its own."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["lr_decay:over=30,to=0.1,after=5"], tmp_path)
    train(STYLES[style], theirs, ByHand(theirs, over=30, after=5, to=0.1))
    assert_same(ours.tensors(), theirs.tensors())


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_a_cosine_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: (1 + cos) / 2 against 1 / 2 + cos / 2."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["lr_decay:over=40,shape=cosine"], tmp_path)
    train(STYLES[style], theirs, ByHand(theirs, over=40, cosine=True))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


class Torchs(Hand):
    """torch's own cosine, stepped after each step of its optimizer."""

    def __init__(self, s: Script) -> None:
        self.d, self.g = (CosineAnnealingLR(o, 60) for o in (s.optimizer_d, s.optimizer_g))

    def after_d_step(self, s: Script) -> None:
        self.d.step()

    def after_g_step(self, s: Script) -> None:
        self.g.step()


def test_a_cosine_equals_torchs_scheduler(tmp_path: Path) -> None:
    """Within 1e-6: torch computes each rate from the one before it."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    watched(dcgan, ours, ["lr_decay:over=60,shape=cosine"], tmp_path)
    train(dcgan, theirs, Torchs(theirs))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_groups_do_not_count_twice(tmp_path: Path) -> None:
    """D's layers in two groups fall together, one count a step: at the end of three steps of three nothing moves."""
    ours, theirs = (script(d=net_for("dcgan"), data=lambda n=n: ring(steps=n)) for n in (9, 3))
    for s in (ours, theirs):
        s.optimizer_d = SGD([{"params": list(layer.parameters())} for layer in s.d.children()], lr=0.1)
    watched(dcgan, ours, ["lr_decay:over=3"], tmp_path / "1")
    watched(dcgan, theirs, ["lr_decay:over=3"], tmp_path / "2")
    assert_same(ours.d.state_dict(), theirs.d.state_dict())


@pytest.mark.parametrize("wrong", ["over=0", "to=1", "to=-0.5", "after=-1", "shape=square"])
def test_falls_that_are_none_are_refused(wrong: str) -> None:
    """Each names itself."""
    with pytest.raises(UsageError, match=wrong.partition("=")[0]):
        parse(f"lr_decay:{wrong}")
