"""RMSprop in place of the script's optimizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, assert_same, dcgan, net_for, script, train, watched
from helpers.own_steps import rate, weights
from torch import nn, optim

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.rmsprop import RMSprop


def test_the_first_step_divides_by_the_root_of_what_is_new() -> None:
    """alpha 0.75, gradient 4: the mean square is 0.25 * 16 = 4, so the step is 0.1 * 4 / 2 = 0.2."""
    p = nn.Parameter(torch.ones(1))
    p.grad = torch.full((1,), 4.0)
    RMSprop(alpha=0.75).take_step(role="d", groups=[{"params": [p], "lr": 0.1}])
    torch.testing.assert_close(p.data, torch.tensor([0.8]))


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_script_with_rmsprop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit the loop whose optimizers were made as torch.optim.RMSprop."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    theirs.optimizer_d = optim.RMSprop(theirs.d.parameters(), lr=rate(theirs.optimizer_d), alpha=0.9)
    theirs.optimizer_g = optim.RMSprop(theirs.g.parameters(), lr=rate(theirs.optimizer_g), alpha=0.9)
    watched(STYLES[style], ours, ["rmsprop:alpha=0.9"], tmp_path)
    train(STYLES[style], theirs)
    assert_same(weights(ours), weights(theirs))


def test_for_d_alone_with_a_rate_of_its_own(tmp_path: Path) -> None:
    """Bit for bit; G keeps its optimizer and its moments."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    theirs.optimizer_d = optim.RMSprop(theirs.d.parameters(), lr=5e-4)
    watched(dcgan, ours, ["rmsprop:which=d,lr=5e-4"], tmp_path)
    train(dcgan, theirs)
    found = theirs.tensors()
    assert_same(ours.tensors(), {key: value for key, value in found.items() if not key.startswith("optimizer_d")})


@pytest.mark.parametrize("wrong", ["which=all", "alpha=1", "alpha=-0.1", "lr=-1", "eps=0"])
def test_settings_that_are_not_rmsprops_are_refused(wrong: str) -> None:
    """Each names itself."""
    with pytest.raises(UsageError, match=wrong.partition("=")[0]):
        parse(f"rmsprop:{wrong}")
