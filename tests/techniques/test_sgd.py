"""SGD in place of the script's optimizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, assert_same, dcgan, net_for, script, train, watched
from helpers.own_steps import rate, weights
from torch import nn, optim

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.sgd import SGD


def test_two_steps_with_momentum() -> None:
    """From 1 with gradients 1, 1, rate 0.1 and momentum 0.5: 0.9, then 0.9 - 0.1 * (0.5 + 1) = 0.75."""
    p = nn.Parameter(torch.ones(1))
    sgd = SGD(momentum=0.5)
    for wanted in (0.9, 0.75):
        p.grad = torch.ones(1)
        sgd.take_step(role="d", groups=[{"params": [p], "lr": 0.1}])
        torch.testing.assert_close(p.data, torch.tensor([wanted]))


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_script_with_sgd(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit the loop whose optimizers were made as torch.optim.SGD with the same rates."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    theirs.optimizer_d = optim.SGD(theirs.d.parameters(), lr=rate(theirs.optimizer_d), momentum=0.9)
    theirs.optimizer_g = optim.SGD(theirs.g.parameters(), lr=rate(theirs.optimizer_g), momentum=0.9)
    watched(STYLES[style], ours, ["sgd:which=both,momentum=0.9"], tmp_path)
    train(STYLES[style], theirs)
    assert_same(weights(ours), weights(theirs))


def test_for_d_alone_while_g_keeps_adam(tmp_path: Path) -> None:
    """The mixture that it is named for, with a rate of its own: bit for bit, and G's moments are the script's."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    theirs.optimizer_d = optim.SGD(theirs.d.parameters(), lr=0.05)
    watched(dcgan, ours, ["sgd:lr=0.05"], tmp_path)
    train(dcgan, theirs)
    assert_same(ours.tensors(), theirs.tensors())


def test_a_weight_that_a_technique_has_added_is_stepped_too(tmp_path: Path) -> None:
    """PacGAN's added weights move with D's first layer."""
    ours = script(d=net_for("dcgan"))
    run = watched(dcgan, ours, ["pacgan", "sgd:lr=0.05"], tmp_path)
    (added,) = run.techniques[0].added().values()
    assert all(p.grad is None for p in added)
    still = watched(dcgan, script(d=net_for("dcgan")), ["pacgan", "sgd:lr=1e-30"], tmp_path / "still")
    (unmoved,) = still.techniques[0].added().values()
    assert not any(torch.equal(p, q) for p, q in zip(added, unmoved, strict=True))


@pytest.mark.parametrize("wrong", ["which=all", "momentum=1", "momentum=-0.1", "lr=-1"])
def test_settings_that_are_not_sgds_are_refused(wrong: str) -> None:
    """Each names itself."""
    with pytest.raises(UsageError, match=wrong.partition("=")[0]):
        parse(f"sgd:{wrong}")
