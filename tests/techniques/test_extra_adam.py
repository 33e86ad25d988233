"""ExtraAdam."""

from __future__ import annotations

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
from helpers.own_steps import rate, weights
from torch import Tensor, nn
from torch.optim import Optimizer

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.extra_adam import ExtraAdam


def moved(technique: ExtraAdam, gradients: list[float]) -> list[float]:
    """Where a number that starts at 1 is after each step with the rate 0.1."""
    p, places = nn.Parameter(torch.ones(1)), []
    for gradient in gradients:
        p.grad = torch.full((1,), gradient)
        technique.take_step(role="d", groups=[{"params": [p], "lr": 0.1}])
        places.append(float(p.detach()))
    return places


def test_a_look_ahead_and_a_step_by_hand() -> None:
    """Without moments Adam's direction is the sign: look to 0.9, step from 1 to 1.1, look to 1.2, step to 1.0."""
    found = moved(ExtraAdam(beta1=0.0, beta2=0.0), [3.0, -5.0, -1.0, 2.0])
    assert found == pytest.approx([0.9, 1.1, 1.2, 1.0])


def test_looks_along_the_last_gradient_by_hand() -> None:
    """Each step moves what is kept, 0.9, 1.0, 1.1, and looks as far again: 0.8, 1.1, 1.2."""
    assert moved(ExtraAdam(past=1, beta1=0.0, beta2=0.0), [3.0, -5.0, -1.0]) == pytest.approx([0.8, 1.1, 1.2])


class ByHand(Hand):
    """As the authors' optimizer has it: `update` moves the moments, `extrapolation` and `step` the weights."""

    def __init__(self, *, beta1: float, beta2: float, past: bool = False) -> None:
        self.beta1, self.beta2, self.past = beta1, beta2, past
        self.m: dict[nn.Parameter, Tensor] = {}
        self.v: dict[nn.Parameter, Tensor] = {}
        self.t: dict[nn.Parameter, int] = {}
        self.copies: dict[Optimizer, list[Tensor]] = {}

    def update(self, p: nn.Parameter, lr: float) -> Tensor:
        t = self.t[p] = self.t.get(p, 0) + 1
        self.m[p] = self.beta1 * self.m.get(p, 0) + (1 - self.beta1) * p.grad
        self.v[p] = self.beta2 * self.v.get(p, 0) + (1 - self.beta2) * p.grad**2
        return -lr * (self.m[p] / (1 - self.beta1**t)) / (torch.sqrt(self.v[p] / (1 - self.beta2**t)) + 1e-8)

    def extrapolation(self, optimizer: Optimizer) -> None:
        parameters = optimizer.param_groups[0]["params"]
        self.copies[optimizer] = [p.data.clone() for p in parameters]
        for p in parameters:
            p.data = p.data + self.update(p, rate(optimizer))

    def correction(self, optimizer: Optimizer) -> None:
        parameters = optimizer.param_groups[0]["params"]
        for p, copy in zip(parameters, self.copies.pop(optimizer, [p.data for p in parameters]), strict=True):
            p.data = copy + self.update(p, rate(optimizer))

    def step(self, s: Script, optimizer: Optimizer) -> None:
        if self.past:
            self.correction(optimizer)
            self.extrapolation(optimizer)
        elif optimizer in self.copies:
            self.correction(optimizer)
        else:
            self.extrapolation(optimizer)


@pytest.mark.parametrize("past", [0, 1])
@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, past: int, tmp_path: Path) -> None:
    """Within 1e-6: the moments are mixed in another order."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, [f"extra_adam:past={past},beta1=0.3"], tmp_path)
    train(STYLES[style], theirs, ByHand(beta1=0.3, beta2=0.9, past=bool(past)))
    assert_same(weights(ours), weights(theirs), within=1e-6)


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """An odd number of steps ends on a look."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(21)) for _ in range(2))
    watched(dcgan, ours, ["extra_adam"], tmp_path)
    train(dcgan, theirs, ByHand(beta1=0.5, beta2=0.9))
    assert_same(weights(ours), weights(theirs), within=1e-6)


@pytest.mark.parametrize("wrong", ["which=all", "past=2", "beta1=1", "beta2=-0.1", "lr=-1", "eps=0"])
def test_settings_that_are_not_its_own_are_refused(wrong: str) -> None:
    """Each names itself."""
    with pytest.raises(UsageError, match=wrong.partition("=")[0]):
        parse(f"extra_adam:{wrong}")


def test_lookahead_beside_it_is_refused(tmp_path: Path) -> None:
    """It would put back points that lookahead has left."""
    with pytest.raises(TechniqueRefused, match="choose one"):
        watched(dcgan, script(), ["extra_adam", "lookahead"], tmp_path)


def test_weight_decay_stays_as_decoupled_as_the_script_has_it() -> None:
    """AdamW's shrinks the weight that was kept by lr * decay, at the look and at the step; Adam's is in the sign."""
    shrunk = 2 * (1 - 0.1 * 0.5) - 0.1
    for decoupled, wanted in ((True, shrunk), (False, 2 - 0.1)):
        p, technique = nn.Parameter(torch.full((1,), 2.0)), ExtraAdam(beta1=0.0, beta2=0.0)
        for _ in range(2):
            p.grad = torch.ones(1)
            group = {"params": [p], "lr": 0.1, "weight_decay": 0.5, "decoupled_weight_decay": decoupled}
            technique.take_step(role="d", groups=[group])
            torch.testing.assert_close(p.data, torch.tensor([wanted]))
