"""Top-k training: G learns from those of its samples that D finds best."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    ROWS,
    STYLES,
    ConvD,
    ConvG,
    Hand,
    Script,
    assert_same,
    dcgan,
    g_first,
    net_for,
    pictures,
    ring,
    script,
    train,
    watched,
)
from torch import Tensor
from torch.nn import functional

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.top_k import best


def test_the_two_best_of_four_count_double() -> None:
    """Their mean is the mean over all four of what is kept; a score may be the mean of several judgements."""
    scores = torch.tensor([[0.3], [-1.0], [2.0], [0.1]])
    assert best(scores, 2, pack=1, rows=4).tolist() == [2.0, 0.0, 2.0, 0.0]
    spatial = scores[:, :, None] + torch.tensor([-5.0, 5.0])
    assert best(spatial, 2, pack=1, rows=4).tolist() == [2.0, 0.0, 2.0, 0.0]


def test_equal_scores_are_still_k() -> None:
    """A D that cannot tell samples apart keeps k of them, not all."""
    assert best(torch.zeros(5, 1), 3, pack=1, rows=5).count_nonzero() == 3


def test_packs_are_kept_or_dropped_whole() -> None:
    """Of three packs of two, the last of them a sample short, the best two are kept with all their samples."""
    kept = best(torch.tensor([[2.0], [-1.0], [5.0]]), 2, pack=2, rows=5)
    assert kept.tolist() == [1.5, 1.5, 0, 0, 1.5]


@pytest.mark.parametrize("style", ["dcgan", "n_critic"])
def test_packs_of_a_loop(style: str, tmp_path: Path) -> None:
    """Under PacGAN eight packs of two are judged, and those of the better half are kept."""
    kept = []

    def look(s: Script, hand: Hand) -> None:
        forward = s.g.forward

        def kept_rows(z: Tensor) -> Tensor:
            fake = forward(z)
            fake.register_hook(lambda gradient: kept.append(gradient.abs().sum(1) > 0))
            return fake

        s.g.forward = kept_rows
        STYLES[style](s, hand)

    ours = script(d=net_for(style), data=lambda: ring(steps=6))
    watched(look, ours, ["pacgan:m=2", "top_k:gamma=0.01,every=1"], tmp_path)
    last = kept[-1].reshape(8, 2)
    assert torch.equal(last[:, 0], last[:, 1])
    assert last[:, 0].sum() == 4


class ByHand(Hand):
    """The script's loss of G on the k best of its samples; k falls to half of the batch."""

    def __init__(self, style: str, *, gamma: float, steps: int) -> None:
        self.style, self.gamma, self.steps, self.made = style, gamma, steps, 0

    def g_loss(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor:
        share = max(self.gamma ** (self.made // self.steps), 0.5)
        logits = s.d.logits(fake).flatten()
        top = logits.topk(math.ceil(share * len(fake))).values
        if self.style == "dcgan":
            return functional.binary_cross_entropy(top.sigmoid(), torch.ones_like(top))
        if self.style == "g_first":
            return functional.binary_cross_entropy_with_logits(top, torch.ones_like(top))
        return -top.mean()

    def after_g_step(self, s: Script) -> None:
        self.made += 1


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: Callable[..., object], tmp_path: Path) -> None:
    """Within 1e-6: a mean over n times n / k is rounded otherwise than a mean over k."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["top_k:gamma=0.9,every=3"], tmp_path)
    train(STYLES[style], theirs, ByHand(style, gamma=0.9, steps=3))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """Images are dropped whole."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    watched(dcgan, ours, ["top_k:gamma=0.8,every=2"], tmp_path)
    train(dcgan, theirs, ByHand("dcgan", gamma=0.8, steps=2))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_nothing_is_dropped_at_the_start(tmp_path: Path) -> None:
    """Up to the first multiplication the loop is the plain one, bit for bit."""
    ours, theirs = (script(data=lambda: ring(steps=10)) for _ in range(2))
    watched(g_first, ours, ["top_k:every=11"], tmp_path)
    train(g_first, theirs)
    assert_same(ours.tensors(), theirs.tensors())


def test_half_of_the_batch_is_left(tmp_path: Path) -> None:
    """With the smallest gamma eight of sixteen rows get a gradient, the best ones by D's score."""
    kept = []

    def loop(s: Script, hand: Hand) -> None:
        for real in s.batches:
            s.optimizer_d.zero_grad()
            fake = s.g(torch.randn(len(real), 2))
            (functional.softplus(-s.d(real)).mean() + functional.softplus(s.d(fake.detach())).mean()).backward()
            s.optimizer_d.step()
            s.optimizer_g.zero_grad()
            fake.retain_grad()
            scores = s.d(fake).flatten()
            functional.softplus(-scores).mean().backward()
            kept.append((fake.grad.abs().sum(1) > 0, scores.detach()))
            s.optimizer_g.step()

    watched(loop, script(data=lambda: ring(steps=4)), ["top_k:gamma=0.01,every=1"], tmp_path)
    assert [int(rows.sum()) for rows, _ in kept] == [ROWS, 8, 8, 8]
    for rows, scores in kept[1:]:
        assert scores[rows].min() >= scores[~rows].max()


@pytest.mark.parametrize("params", ["gamma=1", "gamma=0", "share=0", "share=1", "every=0", "every=1.5"])
def test_bad_parameters_are_refused(params: str) -> None:
    """The message names the parameter."""
    with pytest.raises(UsageError, match=params.split("=")[0]):
        parse(f"top_k:{params}")
