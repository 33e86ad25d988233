"""Losses put at D's output: no forward of D's more than in the script, and right where a call is not what it seemed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.batches import Judge, batch_of
from helpers.gan_loops import STYLES, D, Hand, Script, assert_same, dcgan, net_for, script, train, watched
from torch import Tensor
from torch.nn import functional

from gandiag.interventions.cotangents import Cotangents
from gandiag.techniques import TECHNIQUES, parse

JUDGING = [name for name in TECHNIQUES.names() if parse(name).has("loss_at")]


class ByHand(Hand):
    """The hinge loss."""

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        return functional.relu(1 - s.d.logits(real)).mean() + functional.relu(1 + s.d.logits(fake)).mean()

    def g_loss(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        return None if real is None else -s.d.logits(fake).mean()  # before the first batch the script's own loss


class Smoothed(Hand):
    """D's target for real samples."""

    real_target = 0.9


class Counting(D):
    """Counts the rows that it has judged."""

    def __init__(self) -> None:
        super().__init__(sigmoid=True)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


def test_several_techniques_say_their_loss_by_logits() -> None:
    """The others need D's slopes, its features, or both batches at once."""
    assert {"hinge", "lsgan", "wgan", "non_saturating", "label_smoothing"} <= set(JUDGING)


@pytest.mark.parametrize("name", JUDGING)
def test_the_parts_add_up_to_the_loss(name: str) -> None:
    """What a technique says of each side by its logits is its loss of the whole batch, in value."""
    technique = parse(name)
    real, fake = torch.randn(2, 7, 1, generator=torch.Generator().manual_seed(0))
    batch = batch_of(Judge(lambda x: 3 * x), real=real, fake=fake)
    weight = batch.weight
    sides = {"real": real, "fake": fake}
    parts = [
        technique.loss_at(3 * x, side=side, weight=weight) for side, x in sides.items() if side in technique.judges
    ]
    torch.testing.assert_close(sum(parts), technique.d_loss(batch))
    assert ("g" in technique.judges) == technique.has("g_loss")
    if "g" in technique.judges:
        torch.testing.assert_close(technique.loss_at(3 * fake, side="g", weight=weight), technique.g_loss(batch))


@pytest.mark.parametrize("name", JUDGING)
def test_d_runs_no_more_often_than_in_the_script(name: str, tmp_path: Path) -> None:
    """Three calls a round are the script's own; the look before training and label smoothing's proof come on top."""
    s = script(d=Counting)
    watched(dcgan, s, [name], tmp_path)
    assert s.d.calls <= 3 * len(s.batches) + 8


@pytest.mark.parametrize("seems", ["real", "fake", ""])
@pytest.mark.parametrize("style", ["dcgan", "g_first"])
def test_a_call_that_is_not_what_it_seemed_is_put_right(
    seems: str, style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every detached call is taken for one side: takeovers are made anew, terms taken out again; within 1e-6."""
    side = Cotangents._side
    monkeypatch.setattr(Cotangents, "_side", lambda self, call: side(self, call) if call.attached else seems)
    for name, hand in (("hinge", ByHand()), ("label_smoothing:real=0.9", Smoothed())):
        ours, theirs = (script(d=net_for(style)) for _ in range(2))
        watched(STYLES[style], ours, [name], tmp_path / name)
        train(STYLES[style], theirs, hand)
        assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_a_mixed_batch_that_seemed_real_is_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Votes may say at D's step that a batch held fakes too: all rows' term goes, that of the real ones stays."""
    side = Cotangents._side
    monkeypatch.setattr(Cotangents, "_side", lambda self, call: side(self, call) if call.attached else "real")

    def loop(s: Script, hand: Hand) -> None:
        for real in s.batches:
            fake = s.g(torch.randn(len(real), 2))
            s.optimizer_d.zero_grad()
            soft = torch.full((len(real), 1), getattr(hand, "real_target", 1.0))
            output = s.d(torch.cat([real, fake.detach()]))
            target = torch.cat([soft, torch.zeros(len(fake), 1)])
            functional.binary_cross_entropy_with_logits(output, target).backward()
            s.optimizer_d.step()
            s.optimizer_g.zero_grad()
            functional.softplus(-s.d(fake)).mean().backward()
            s.optimizer_g.step()

    ours, theirs = script(), script()
    watched(loop, ours, ["label_smoothing"], tmp_path)
    train(loop, theirs, Smoothed())
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


@pytest.mark.parametrize("name", ["hinge", "lsgan"])
def test_two_passes_through_one_output(name: str, tmp_path: Path) -> None:
    """A script that runs its loss backward in two halves ends where it ends with one pass; within 1e-6."""

    def loop(s: Script, hand: Hand, parts: int) -> None:
        for real in s.batches:
            s.optimizer_d.zero_grad()
            fake = s.g(torch.randn(len(real), 2))
            loss = functional.softplus(-s.d(real)).mean() + functional.softplus(s.d(fake.detach())).mean()
            for part in range(parts):
                (loss / parts).backward(retain_graph=part + 1 < parts)
            s.optimizer_d.step()
            s.optimizer_g.zero_grad()
            functional.softplus(-s.d(fake)).mean().backward()
            s.optimizer_g.step()

    once, twice = script(), script()
    watched(lambda s, hand: loop(s, hand, 1), once, [name], tmp_path / "once")
    watched(lambda s, hand: loop(s, hand, 2), twice, [name], tmp_path / "twice")
    assert_same(twice.tensors(), once.tensors(), within=1e-6)


def test_what_the_script_adds_to_its_loss_stays(tmp_path: Path) -> None:
    """A weight penalty that is no part of the adversarial loss is kept beside the loss that has taken over."""

    def loop(s: Script, hand: Hand) -> None:
        for real in s.batches:
            s.optimizer_d.zero_grad()
            fake = s.g(torch.randn(len(real), 2))
            loss = functional.softplus(-s.d(real)).mean() + functional.softplus(s.d(fake.detach())).mean()
            if (own := hand.d_loss(s, real=real, fake=fake.detach())) is not None:
                loss = own
            (loss + 0.1 * sum(p.square().sum() for p in s.d.parameters())).backward()
            s.optimizer_d.step()
            s.optimizer_g.zero_grad()
            loss = functional.softplus(-s.d(fake)).mean()
            if (own := hand.g_loss(s, real=real, fake=fake)) is not None:
                loss = own
            loss.backward()
            s.optimizer_g.step()

    ours, theirs = script(), script()
    watched(loop, ours, ["hinge"], tmp_path)
    train(loop, theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)
