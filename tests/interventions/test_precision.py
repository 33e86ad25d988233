"""Mixed precision: a GradScaler's scale, and nets under autocast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers.gan_loops import D, Hand, Script, assert_same, ring, script, sgd, train, watched
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam

TECHNIQUES = [
    ["r1:gamma=0.5"],
    ["hinge"],
    ["feature_matching"],
    ["label_smoothing"],
    ["pacgan", "grad_clip:max_norm=0.1"],
    ["mode_seeking:weight=0.01", "sgd"],
    ["unrolled:k=1"],
]


def scaled(s: Script, hand: Hand) -> None:
    """A plain loop with a scaler; `hand.scale` is 1 for the same loop without."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, enabled=getattr(hand, "scaling", True))
    for real in s.batches:
        s.optimizer_d.zero_grad()
        fake = s.g(torch.randn(len(real), 2))
        loss = functional.softplus(-s.d(real)).mean() + functional.softplus(s.d(fake.detach())).mean()
        scaler.scale(loss).backward()
        scaler.step(s.optimizer_d)
        s.optimizer_g.zero_grad()
        scaler.scale(functional.softplus(-s.d(fake)).mean()).backward()
        scaler.step(s.optimizer_g)
        scaler.update()


class Unscaled(Hand):
    scaling = False


def fused(parameters: Iterator[torch.nn.Parameter]) -> Adam:
    """An optimizer that takes the scale out by itself, inside its step."""
    return Adam(parameters, lr=2e-3, betas=(0.5, 0.99), fused=True)


@pytest.mark.parametrize("optimizer", [sgd, fused], ids=["sgd", "fused adam"])
@pytest.mark.parametrize("techniques", TECHNIQUES, ids=" ".join)
def test_a_scale_makes_no_difference(techniques: list[str], optimizer: Callable[..., object], tmp_path: Path) -> None:
    """With losses multiplied by 2^12 the training ends where it ends without, within 1e-6: powers of two are exact."""
    ours, theirs = (script(optimizer=optimizer, data=lambda: ring(steps=12)) for _ in range(2))
    watched(scaled, ours, techniques, tmp_path / "scaled")
    watched(lambda s, _: scaled(s, Unscaled()), theirs, techniques, tmp_path / "plain")
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def under_autocast(s: Script, hand: Hand) -> None:
    """Both nets in bfloat16; the person who writes R1 into it leaves autocast for the penalty, as one should."""
    for real in s.batches:
        s.optimizer_d.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            fake = s.g(torch.randn(len(real), 2))
            loss = functional.softplus(-s.d(real)).mean() + functional.softplus(s.d(fake.detach())).mean()
        loss.backward()
        if (term := hand.d_term(s, real=real, fake=fake)) is not None:
            term.backward()
        s.optimizer_d.step()
        s.optimizer_g.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = functional.softplus(-s.d(fake)).mean()
        loss.backward()
        s.optimizer_g.step()


class R1(Hand):
    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        x = real.detach().requires_grad_()
        (slope,) = torch.autograd.grad(s.d(x).sum(), x, create_graph=True)
        return 0.5 / 2 * slope.square().sum(1).mean()


def test_a_penalty_beside_autocast(tmp_path: Path) -> None:
    """R1 in full precision on a D that trains in bfloat16 equals the hand-written loop bit for bit."""
    torch.set_default_dtype(torch.float32)
    ours, theirs = (script() for _ in range(2))
    watched(under_autocast, ours, ["r1:gamma=0.5"], tmp_path)
    train(under_autocast, theirs, R1())
    assert_same(ours.tensors(), theirs.tensors())


@pytest.mark.parametrize("techniques", TECHNIQUES, ids=" ".join)
def test_each_kind_trains_under_autocast(techniques: list[str], tmp_path: Path) -> None:
    """G's samples are bfloat16 there and D's weights float32: what gandiag calls by itself runs in full precision."""
    torch.set_default_dtype(torch.float32)
    ours = script(d=D, data=lambda: ring(steps=6))
    run = watched(under_autocast, ours, techniques, tmp_path)
    assert min(run.interventions.counts.values()) >= 5
    assert all(value.isfinite().all() for value in ours.tensors().values())
