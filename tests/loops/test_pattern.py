"""Rounds that are followed instead of watched: nothing is labelled otherwise, nothing is disturbed."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from loops._training import fingerprint, name
from loops._watched import few_objects
from loops.idioms import IDIOMS, Idiom, Truth
from torch import Tensor, nn

from gandiag.loop import Observer, pattern
from gandiag.loop.listener import Listener
from gandiag.loop.pattern import Pattern

each_idiom = pytest.mark.parametrize("idiom", IDIOMS, ids=name)


class NowAndThen(Listener):
    """Wants each fourth round, and counts what it is told."""

    def __init__(self) -> None:
        self.watched: list[int] = []
        self.followed: list[int] = []
        self.losses: list[dict[str, float]] = []

    def wants_round(self, iteration: int) -> bool:
        return iteration % 4 == 0

    def iteration_ended(self, iteration: int) -> None:
        self.watched.append(iteration)

    def round_followed(self, iteration: int, pattern: Pattern) -> None:
        self.followed.append(iteration)
        self.losses.append({role: float(sum(map(float, found))) for role, found in pattern.losses.items()})


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds that are alike are enough, as the loops of this folder are short."""
    monkeypatch.setattr(pattern, "AGREE", 2)


#: Rows are looked at in the first ten rounds, and no round is followed until then.
STEPS = 30


@functools.cache
def observed(idiom: Idiom, kind: type[Listener]) -> tuple[Observer, Listener, str]:
    """An idiom trained beside one listener."""
    observer, listener = Observer(strict=True), kind()
    observer.listeners.append(listener)
    with few_objects():
        observer.open()
        try:
            torch.manual_seed(3)
            np.random.seed(3)
            random.seed(3)
            things = idiom(STEPS, Truth(STEPS))
        finally:
            observer.close()
    return observer, listener, fingerprint(things)


@each_idiom
def test_labels_are_those_of_watched_rounds(idiom: Idiom) -> None:
    """With three of four rounds followed where they can be, every call and step is counted as if all were watched."""
    (often, _, as_trained), (seldom, listener, trained) = (observed(idiom, kind) for kind in (Listener, NowAndThen))
    assert seldom.tally.to_json() == often.tally.to_json()
    assert (seldom.iteration, seldom.steps) == (often.iteration, often.steps)
    assert trained == as_trained
    assert isinstance(listener, NowAndThen)
    assert sorted(listener.watched + listener.followed) == list(range(1, seldom.iteration + 1))


def test_many_loops_have_a_pattern() -> None:
    """In thirty idioms rounds are followed; the others have something in them that no pattern can hold."""
    followed = [idiom for idiom in IDIOMS if observed(idiom, NowAndThen)[1].followed]  # type: ignore[attr-defined]
    assert len(followed) >= 30, f"{len(followed)} of {len(IDIOMS)}"


def small() -> tuple[nn.Sequential, nn.Sequential, list[torch.optim.Optimizer]]:
    """Two nets and their optimizers, G's first."""
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, out)) for out in (2, 1)]
    return nets[0], nets[1], [torch.optim.SGD(net.parameters(), lr=1e-3) for net in nets]


def play(change: Callable[[int], str], rounds: int = 40) -> tuple[dict[str, Any], NowAndThen, Observer]:
    """A plain loop in which `change(i)` says what is different in round i; returns what was counted and by whom."""
    g, d, (of_g, of_d) = small()
    observer, listener = Observer(generator=g, discriminator=d, strict=True), NowAndThen()
    observer.listeners.append(listener)
    observer.open()
    try:
        for i in range(rounds):
            what = change(i)
            rows = 5 if what == "a short batch" else 8
            real = torch.randn(rows, 2)
            fake = g(torch.randn(rows, 2))
            of_d.zero_grad()
            scores = d(fake.detach()), d(real) if what != "real is fake" else d(fake.detach())
            loss = scores[0].mean() - scores[1].mean()
            if what == "a penalty":
                x = real.clone().requires_grad_()
                loss = loss + torch.autograd.grad(d(x).sum(), x, create_graph=True)[0].square().mean()
            loss.backward()
            if what == "D does not step":
                of_d.zero_grad()
            else:
                of_d.step()
            if what == "a look at G":
                with torch.no_grad():
                    d(g(torch.randn(3, 2)))
            of_g.zero_grad()
            d(fake).mean().backward()
            of_g.step()
    finally:
        observer.close()
    return observer.tally.to_json(), listener, observer


def test_a_plain_loop_is_followed() -> None:
    """After ten rounds in which rows are compared, three of four rounds are followed."""
    counted, listener, _ = play(lambda i: "")
    assert counted == {"fake": {"d": 40, "g": 40}, "real": {"d": 40}}
    assert len(listener.followed) >= 20
    assert all(set(losses) == {"d", "g"} for losses in listener.losses)


@pytest.mark.parametrize("at", [20, 21, 22, 23])
@pytest.mark.parametrize(
    ("what", "real", "fake", "penalty"),
    [
        ("a short batch", 40, 40, 0),
        ("a penalty", 40, 40, 1),
        ("a look at G", 40, 40, 0),
        ("D does not step", 39, 39, 0),
        ("real is fake", 39, 41, 0),
    ],
)
def test_what_differs_is_noticed(what: str, real: int, fake: int, penalty: int, at: int) -> None:
    """One round that goes another way, followed or not, is counted as what it is, and so are those after it."""
    counted, listener, _ = play(lambda i: what if i == at else "")
    assert counted["real"] == {"d": real}
    assert counted["fake"] == {"d": fake, "g": 40}
    assert counted.get("penalty", {}) == ({"d": penalty} if penalty else {})
    assert "unknown" not in counted
    assert max(listener.followed) > at + 4


def test_a_loop_that_differs_again_and_again() -> None:
    """With a penalty in each sixth round, each penalty and each other call is counted."""
    counted, listener, _ = play(lambda i: "a penalty" if i % 6 == 5 else "", rounds=150)
    assert counted == {"fake": {"d": 150, "g": 150}, "real": {"d": 150}, "penalty": {"d": 25}}
    assert listener.followed


def test_losses_are_those_of_watched_rounds() -> None:
    """A followed round's losses are the loop's own."""
    g, d, (of_g, of_d) = small()
    observer, listener = Observer(generator=g, discriminator=d, strict=True), NowAndThen()
    observer.listeners.append(listener)
    observer.open()
    own: list[dict[str, float]] = []
    try:
        for _ in range(30):
            fake = g(torch.randn(8, 2))
            of_d.zero_grad()
            losses = d(torch.randn(8, 2)).square().mean(), d(fake.detach()).exp().mean()
            losses[0].backward()
            losses[1].backward(gradient=torch.tensor(-0.5))
            of_d.step()
            of_g.zero_grad()
            of_g_loss: Tensor = d(fake).mean()
            of_g_loss.backward()
            of_g.step()
            own.append({"d": (losses[0] - 0.5 * losses[1]).item(), "g": of_g_loss.item()})
    finally:
        observer.close()
    assert len(listener.followed) >= 10
    for iteration, losses_seen in zip(listener.followed, listener.losses, strict=True):
        assert losses_seen == pytest.approx(own[iteration - 1], abs=1e-6)
