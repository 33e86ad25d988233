"""Scripts that freeze one net while the other one learns, as those of WGAN, CycleGAN and StyleGAN2 do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import Hand, Script, assert_same, script, watched
from torch import nn
from torch.nn import functional

from gandiag.techniques import TECHNIQUES


def asked(net: nn.Module, *, gradient: bool) -> None:
    for p in net.parameters():
        p.requires_grad_(gradient)


def loop(s: Script, hand: Hand, *, freezing: bool) -> None:
    for real in s.batches:
        asked(s.d, gradient=True)
        asked(s.g, gradient=not freezing)
        s.optimizer_d.zero_grad()
        fake = s.g(torch.randn(len(real), 2)).detach()
        (functional.softplus(-s.d(real)).mean() + functional.softplus(s.d(fake)).mean()).backward()
        s.optimizer_d.step()
        asked(s.d, gradient=not freezing)
        asked(s.g, gradient=True)
        s.optimizer_g.zero_grad()
        functional.softplus(-s.d(s.g(torch.randn(len(real), 2)))).mean().backward()
        s.optimizer_g.step()
    asked(s.d, gradient=True)


def freezing(s: Script, hand: Hand) -> None:
    loop(s, hand, freezing=True)


def thawing(s: Script, hand: Hand) -> None:
    loop(s, hand, freezing=False)


#: Those for images, and those that change layers which these nets lack.
OTHERS = ("layer_norm", "instance_norm", "virtual_batch_norm", "leaky_relu")
NAMES = [n for n in TECHNIQUES.names() if TECHNIQUES[n].card.data != ("images",) and n not in OTHERS]


@pytest.mark.parametrize("name", NAMES)
def test_freezing_changes_nothing(name: str, tmp_path: Path) -> None:
    """Bit for bit: each technique trains both nets to where it trains them in the same loop without freezing."""
    ours, theirs = (script() for _ in range(2))
    run = watched(freezing, ours, [name], tmp_path / "a")
    watched(thawing, theirs, [name], tmp_path / "b")
    assert_same(ours.tensors(), theirs.tensors())
    assert all(p.requires_grad for net in (ours.g, ours.d) for p in net.parameters())
    assert run.observer.steps["d"] == run.observer.steps["g"] == len(ours.batches)


def test_what_is_frozen_stays_frozen(tmp_path: Path) -> None:
    """After G's step D asks for no gradient, as the script has left it."""
    seen = []

    def noting(s: Script, hand: Hand) -> None:
        s.optimizer_g.register_step_post_hook(lambda *_: seen.append([p.requires_grad for p in s.d.parameters()]))
        freezing(s, hand)

    watched(noting, script(), ["consensus"], tmp_path)
    assert seen
    assert not any(map(any, seen))
