"""Minibatch standard deviation: D sees how much the samples of a group differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    WIDTH,
    ConvD,
    ConvG,
    D,
    G,
    Script,
    assert_same,
    dcgan,
    g_first,
    pictures,
    ring,
    script,
    train,
    watched,
)
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.minibatch_stddev import EPSILON, group_stddev


def test_the_deviation_of_two_pairs() -> None:
    """Rows 0 and 2 differ by 2 and by 6 in their features, rows 1 and 3 not at all: deviations (1 + 3) / 2 and 0."""
    features = torch.tensor([[0.0, 0.0], [5.0, 5.0], [2.0, 6.0], [5.0, 5.0]])
    torch.testing.assert_close(
        group_stddev(features, group=2), torch.tensor([2.0, EPSILON**0.5] * 2), atol=1e-7, rtol=1e-7
    )


@pytest.mark.parametrize(("n", "sizes"), [(16, [4] * 4), (7, [7]), (9, [5, 4]), (11, [6, 5]), (3, [3]), (1, [1])])
def test_every_number_of_rows_has_groups(n: int, sizes: list[int]) -> None:
    """Group by group as a loop has it: row i is in the group i modulo their number, and none is left alone."""
    features = torch.randn(n, 3, 2, 2)
    found = group_stddev(features, group=4)
    groups = [[i for i in range(n) if i % len(sizes) == k] for k in range(len(sizes))]
    assert [len(rows) for rows in groups] == sizes
    for rows in groups:
        x = features[rows].flatten(1)
        wanted = (x.var(dim=0, unbiased=False) + EPSILON).sqrt().mean()
        torch.testing.assert_close(found[rows], wanted.expand(len(rows)))


def styleganed(h: Tensor) -> Tensor:
    """StyleGAN2's layer, for a batch that four divides: one more feature, or feature map."""
    grouped = h.reshape(4, -1, *h.shape[1:])
    spread = (grouped.var(dim=0, unbiased=False) + 1e-8).sqrt().flatten(1).mean(dim=1)
    plane = spread.reshape(-1, *[1] * (h.ndim - 1)).repeat(4, *[1] * (h.ndim - 1))
    return torch.cat([h, plane.expand(-1, 1, *h.shape[2:])], dim=1)


class ByHand(D):
    """A real concatenation before a real, wider last layer."""

    def __init__(self, *, sigmoid: bool) -> None:
        super().__init__(sigmoid=sigmoid)
        narrow, self.last = self.last, nn.Linear(WIDTH + 1, 1)
        with torch.no_grad():
            self.last.weight.copy_(functional.pad(narrow.weight, (0, 1)))
            self.last.bias.copy_(narrow.bias)

    def features(self, x: Tensor) -> Tensor:
        return styleganed(super().features(x))


def compare(ours: Script, theirs: Script, added: list[Tensor]) -> None:
    """The wide last weight is the script's beside the added one; all the rest has the same names."""
    found, wanted = ours.tensors(), theirs.tensors()
    assert added[0].abs().max() > 0
    found["d.last.weight"] = torch.cat([found["d.last.weight"], added[0].detach()], dim=1)
    names = [name for name in found if not name.startswith("optimizer_d")]
    assert_same({name: found[name] for name in names}, {name: wanted[name] for name in names}, within=1e-6)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_a_real_concatenation(style: str, optimizer: Callable[..., object], tmp_path: Path) -> None:
    """Within 1e-6: two products and their sum are rounded in another order than one wide product."""
    sigmoid = style == "dcgan"
    ours = script(d=lambda: D(sigmoid=sigmoid), optimizer=optimizer)
    theirs = script(d=lambda: ByHand(sigmoid=sigmoid), optimizer=optimizer)
    run = watched(STYLES[style], ours, ["minibatch_stddev"], tmp_path)
    train(STYLES[style], theirs)
    compare(ours, theirs, run.techniques[0].added()[ours.d.last])


class ConvByHand(ConvD):
    """StyleGAN2's constant feature map before a real, wider 4x4 convolution."""

    def __init__(self) -> None:
        super().__init__()
        narrow, self.last = self.last, nn.Conv2d(7, 1, 4, bias=False)
        with torch.no_grad():
            self.last.weight.copy_(functional.pad(narrow.weight, (0, 0, 0, 0, 0, 1)))

    def features(self, x: Tensor) -> Tensor:
        return styleganed(super().features(x))


def test_equals_a_real_concatenation_before_a_convolution(tmp_path: Path) -> None:
    """A plane is concatenated, and the convolution has one more input channel."""
    ours = script(g=ConvG, d=ConvD, data=lambda: pictures(20))
    theirs = script(g=ConvG, d=ConvByHand, data=lambda: pictures(20))
    run = watched(dcgan, ours, ["minibatch_stddev"], tmp_path)
    train(dcgan, theirs)
    compare(ours, theirs, run.techniques[0].added()[ours.d.last])


class PatchD(ConvD):
    """The spatial head of a PatchGAN, with padding: 4x4 judgements of each picture."""

    def __init__(self) -> None:
        super().__init__(sigmoid=False)
        self.last = nn.Conv2d(6, 1, 3, padding=1)

    def logits(self, x: Tensor) -> Tensor:
        return self.last(self.features(x))


class PatchByHand(PatchD):
    def __init__(self) -> None:
        super().__init__()
        narrow, self.last = self.last, nn.Conv2d(7, 1, 3, padding=1)
        with torch.no_grad():
            self.last.weight.copy_(functional.pad(narrow.weight, (0, 0, 0, 0, 0, 1)))
            self.last.bias.copy_(narrow.bias)

    def features(self, x: Tensor) -> Tensor:
        return styleganed(super().features(x))


def test_equals_a_real_concatenation_before_a_patch_head(tmp_path: Path) -> None:
    """Zero padding meets the plane's edge as it meets that of the other feature maps."""
    ours = script(g=ConvG, d=PatchD, data=lambda: pictures(20))
    theirs = script(g=ConvG, d=PatchByHand, data=lambda: pictures(20))
    run = watched(g_first, ours, ["minibatch_stddev"], tmp_path)
    train(g_first, theirs)
    compare(ours, theirs, run.techniques[0].added()[ours.d.last])


def test_a_smaller_last_batch(tmp_path: Path) -> None:
    """Seven rows, three, one: each is a group of its own."""

    def loop(s: Script, hand: object) -> None:
        for real in s.batches:
            s.optimizer_d.zero_grad()
            fake = s.g(torch.randn(16, 2))
            (functional.softplus(-s.d(real)).mean() + functional.softplus(s.d(fake.detach())).mean()).backward()
            s.optimizer_d.step()
            s.optimizer_g.zero_grad()
            functional.softplus(-s.d(fake)).mean().backward()
            s.optimizer_g.step()

    ours = script(data=lambda: [x[:n] for x, n in zip(ring(steps=4), (16, 7, 3, 1), strict=True)])
    watched(loop, ours, ["minibatch_stddev"], tmp_path)
    assert all(value.isfinite().all() for value in ours.tensors().values())


def test_groups_of_one_are_refused() -> None:
    """One sample has no deviation."""
    with pytest.raises(UsageError, match="at least 2"):
        parse("minibatch_stddev:group=1")


def test_a_normalised_last_layer_is_refused(tmp_path: Path) -> None:
    """The script's own spectral norm would not see the added part."""

    def normed() -> D:
        d = D(sigmoid=True)
        parametrizations.spectral_norm(d.last)
        return d

    with pytest.raises(TechniqueRefused, match="rpgan_r1_r2"):
        watched(dcgan, script(d=normed), ["minibatch_stddev"], tmp_path)


def test_another_last_layer_is_refused(tmp_path: Path) -> None:
    """A bilinear form is no layer with inputs side by side."""

    class Form(D):
        def __init__(self) -> None:
            super().__init__(sigmoid=True)
            self.last = nn.ConvTranspose1d(WIDTH, 1, 1)

        def logits(self, x: Tensor) -> Tensor:
            return self.last(self.features(x)[:, :, None])[:, :, 0]

    with pytest.raises(TechniqueRefused, match="minibatch_discrimination"):
        watched(dcgan, script(g=G, d=Form), ["minibatch_stddev"], tmp_path)
