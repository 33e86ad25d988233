"""Optimistic Adam."""

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

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.optimistic_adam import OptimisticAdam


def test_two_steps_by_hand() -> None:
    """Without moments Adam's direction is the gradient's sign: 1 - 0.2, then + 0.2 + 0.1 as the sign turns."""
    p = nn.Parameter(torch.ones(1))
    technique = OptimisticAdam(beta1=0.0, beta2=0.0)
    for gradient, wanted in ((3.0, 0.8), (-5.0, 1.1)):
        p.grad = torch.full((1,), gradient)
        technique.take_step(role="d", groups=[{"params": [p], "lr": 0.1}])
        torch.testing.assert_close(p.data, torch.tensor([wanted]))


def test_a_bilinear_game_is_drawn_in_where_adam_circles() -> None:
    """min max x * y from (1, 1): optimism ends near (0, 0), Adam with the same settings stays away from it."""

    def distance(*, optimistic: bool) -> float:
        x, y = (nn.Parameter(torch.ones(1)) for _ in range(2))
        technique = OptimisticAdam(beta1=0.0, beta2=0.999)
        other = torch.optim.Adam([x, y], lr=0.02, betas=(0.0, 0.999))
        for _ in range(3000):
            x.grad, y.grad = y.detach().clone(), -x.detach().clone()
            if optimistic:
                technique.take_step(role="g", groups=[{"params": [x, y], "lr": 0.02}])
            else:
                other.step()
        return float(torch.stack([x, y]).detach().norm())

    assert distance(optimistic=True) < 0.1 < 1 < distance(optimistic=False)


class ByHand(Hand):
    """Algorithm 1, line by line, with states kept by parameter."""

    def __init__(self, *, beta1: float, beta2: float, lr: float = 0.0) -> None:
        self.beta1, self.beta2, self.lr = beta1, beta2, lr
        self.m: dict[nn.Parameter, Tensor] = {}
        self.v: dict[nn.Parameter, Tensor] = {}
        self.hat: dict[nn.Parameter, Tensor] = {}
        self.t: dict[Optimizer, int] = {}

    def step(self, s: Script, optimizer: Optimizer) -> None:
        t = self.t[optimizer] = self.t.get(optimizer, 0) + 1
        eta = self.lr or rate(optimizer)
        for p in optimizer.param_groups[0]["params"]:
            g = p.grad
            self.m[p] = self.beta1 * self.m.get(p, 0) + (1 - self.beta1) * g
            self.v[p] = self.beta2 * self.v.get(p, 0) + (1 - self.beta2) * g**2
            m_hat = self.m[p] / (1 - self.beta1**t)
            v_hat = self.v[p] / (1 - self.beta2**t)
            now, before = m_hat / (torch.sqrt(v_hat) + 1e-8), self.hat.get(p, torch.zeros_like(p))
            p.data = p.data - 2 * eta * now + eta * before
            self.hat[p] = now


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: the moments are mixed, and the two moves added, in another order."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["optimistic_adam:beta1=0.3"], tmp_path)
    train(STYLES[style], theirs, ByHand(beta1=0.3, beta2=0.9))
    assert_same(weights(ours), weights(theirs), within=1e-6)


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """With a rate of its own."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    watched(dcgan, ours, ["optimistic_adam:lr=5e-4"], tmp_path)
    train(dcgan, theirs, ByHand(beta1=0.5, beta2=0.9, lr=5e-4))
    assert_same(weights(ours), weights(theirs), within=1e-6)


class OfG(ByHand):
    """G alone."""

    def step(self, s: Script, optimizer: Optimizer) -> None:
        if optimizer is s.optimizer_g:
            super().step(s, optimizer)
        else:
            optimizer.step()


def test_of_one_player_alone(tmp_path: Path) -> None:
    """D keeps its optimizer and that one's states."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    watched(dcgan, ours, ["optimistic_adam:which=g"], tmp_path)
    train(dcgan, theirs, OfG(beta1=0.5, beta2=0.9))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


@pytest.mark.parametrize("wrong", ["which=all", "beta1=1", "beta2=-0.1", "lr=-1", "eps=0"])
def test_settings_that_are_not_adams_are_refused(wrong: str) -> None:
    """Each names itself."""
    with pytest.raises(UsageError, match=wrong.partition("=")[0]):
        parse(f"optimistic_adam:{wrong}")


def test_weight_decay_stays_as_decoupled_as_the_script_has_it() -> None:
    """AdamW's shrinks the weight by lr * decay before the move; Adam's goes into the gradient's sign."""
    for decoupled, wanted in ((True, 2 * (1 - 0.1 * 0.5) - 0.2), (False, 2 - 0.2)):
        p = nn.Parameter(torch.full((1,), 2.0))
        p.grad = torch.ones(1)
        group = {"params": [p], "lr": 0.1, "weight_decay": 0.5, "decoupled_weight_decay": decoupled}
        OptimisticAdam(beta1=0.0, beta2=0.0).take_step(role="d", groups=[group])
        torch.testing.assert_close(p.data, torch.tensor([wanted]))
