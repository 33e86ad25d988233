"""Adam in place of the script's optimizer."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, ConvD, ConvG, assert_same, dcgan, net_for, pictures, script, train, watched
from helpers.own_steps import rate, weights
from torch import nn, optim
from torch.optim.lr_scheduler import ExponentialLR

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.adam import Adam


def test_the_first_step_is_as_long_as_the_rate() -> None:
    """Bias correction makes m / sqrt(v) the gradient's sign at first, whatever the betas: 0.1 against it."""
    p = nn.Parameter(torch.tensor([1.0, 1.0]))
    p.grad = torch.tensor([100.0, -1e-3])
    Adam(lr=0.1).take_step(role="d", groups=[{"params": [p], "lr": 5.0}])
    torch.testing.assert_close(p.data, torch.tensor([0.9, 1.1]), rtol=0, atol=1e-5)


def test_what_the_script_asks_its_optimizer_for_is_kept() -> None:
    """maximize=True ascends, and weight decay pulls where the gradient is zero."""
    p = nn.Parameter(torch.tensor([1.0, 1.0]))
    p.grad = torch.tensor([1.0, 0.0])
    Adam().take_step(role="d", groups=[{"params": [p], "lr": 0.1, "maximize": True, "weight_decay": 0.5}])
    torch.testing.assert_close(p.data, torch.tensor([1.1, 0.9]))


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_script_with_adam(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit the loop whose optimizers were made as torch.optim.Adam with these betas and the same rates."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    theirs.optimizer_d = optim.Adam(theirs.d.parameters(), lr=rate(theirs.optimizer_d), betas=(0.0, 0.9))
    theirs.optimizer_g = optim.Adam(theirs.g.parameters(), lr=rate(theirs.optimizer_g), betas=(0.0, 0.9))
    watched(STYLES[style], ours, ["adam:beta1=0,beta2=0.9"], tmp_path)
    train(STYLES[style], theirs)
    assert_same(weights(ours), weights(theirs))


@pytest.mark.parametrize("which", ["d", "g"])
def test_of_one_player_alone(which: str, tmp_path: Path) -> None:
    """The other one keeps its optimizer, with states and all."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    net, name = getattr(theirs, which), f"optimizer_{which}"
    setattr(theirs, name, optim.Adam(net.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-4))
    watched(dcgan, ours, [f"adam:which={which},beta1=0.9,lr=1e-3,eps=1e-4"], tmp_path)
    train(dcgan, theirs)
    found, wanted = ours.tensors(), theirs.tensors()
    assert not any(key.startswith(name) for key in found)
    assert_same(found, {key: value for key, value in wanted.items() if not key.startswith(name)})


def test_a_schedule_of_the_scripts_is_followed(tmp_path: Path) -> None:
    """The script's rates fall after each of G's steps, and so do those of the Adam in their place: bit for bit."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    theirs.optimizer_d = optim.Adam(theirs.d.parameters(), lr=rate(theirs.optimizer_d), betas=(0.5, 0.999))
    theirs.optimizer_g = optim.Adam(theirs.g.parameters(), lr=rate(theirs.optimizer_g), betas=(0.5, 0.999))
    for s in (ours, theirs):
        schedules = [ExponentialLR(optimizer, 0.9) for optimizer in (s.optimizer_d, s.optimizer_g)]

        def loop(s: object, hand: object, schedules: list[ExponentialLR] = schedules) -> None:
            hand.after_g_step = lambda _: [schedule.step() for schedule in schedules]
            dcgan(s, hand)

        if s is ours:
            watched(loop, s, ["adam"], tmp_path)
        else:
            train(loop, s)
    assert_same(weights(ours), weights(theirs))


def test_equals_the_convolutional_script_with_adam(tmp_path: Path) -> None:
    """A DCGAN with its own betas."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    theirs.optimizer_d = optim.Adam(theirs.d.parameters(), lr=rate(theirs.optimizer_d), betas=(0.5, 0.999))
    theirs.optimizer_g = optim.Adam(theirs.g.parameters(), lr=rate(theirs.optimizer_g), betas=(0.5, 0.999))
    watched(dcgan, ours, ["adam"], tmp_path)
    train(dcgan, theirs)
    assert_same(weights(ours), weights(theirs))


@pytest.mark.skipif(
    "decoupled_weight_decay" not in inspect.signature(optim.Adam).parameters,
    reason="this torch's Adam has no such decay",
)
def test_adamw_stays_adamw(tmp_path: Path) -> None:
    """A script's decoupled weight decay is not added to the gradient: bit for bit AdamW with these betas."""
    ours, theirs = (
        script(
            d=net_for("dcgan"), optimizer=lambda p, betas=betas: optim.AdamW(p, lr=2e-3, betas=betas, weight_decay=0.1)
        )
        for betas in ((0.9, 0.999), (0.5, 0.99))
    )
    watched(dcgan, ours, ["adam:beta2=0.99"], tmp_path)
    train(dcgan, theirs)
    assert_same(weights(ours), weights(theirs))


@pytest.mark.parametrize("wrong", ["which=all", "beta1=1", "beta2=-0.1", "lr=-1", "lr=inf", "eps=0"])
def test_settings_that_are_not_adams_are_refused(wrong: str) -> None:
    """Each names itself."""
    with pytest.raises(UsageError, match=wrong.partition("=")[0]):
        parse(f"adam:{wrong}")


def test_two_optimizers_for_one_player_are_refused(tmp_path: Path) -> None:
    """adam for both and sgd for D would both step D; adam for G and sgd for D go together."""
    with pytest.raises(TechniqueRefused, match="step for D"):
        watched(dcgan, script(d=net_for("dcgan")), ["adam", "sgd"], tmp_path / "1")
    watched(dcgan, script(d=net_for("dcgan")), ["adam:which=g", "sgd:which=d"], tmp_path / "2")
