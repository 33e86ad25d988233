"""Minibatch discrimination: D sees how close each sample is to the rest of its batch."""

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
    Script,
    assert_same,
    dcgan,
    own_stream,
    pictures,
    script,
    train,
    watched,
)
from torch import Tensor, nn

from gandiag.errors import TechniqueRefused
from gandiag.techniques.minibatch_discrimination import closeness

KERNELS, DIMS = 6, 3
TECHNIQUE = f"minibatch_discrimination:kernels={KERNELS},dims={DIMS}"


def test_closeness_of_three_points() -> None:
    """0, 0 and log 2 on a line: the twins are 1 apart in closeness, the third half as close to each."""
    features = torch.tensor([[0.0], [0.0], [2.0]]).log1p() * torch.tensor(2.0).log() / torch.tensor(3.0).log()
    found = closeness(features, torch.ones(1, 1, 1))
    torch.testing.assert_close(found, torch.tensor([[1.5], [1.5], [1.0]]))


def test_closeness_is_the_papers_double_loop() -> None:
    """sum over j != i of exp(-|M_i - M_j|_1), kernel by kernel."""
    features, kernel = torch.randn(5, 4), torch.randn(4, KERNELS, DIMS)
    wanted = torch.zeros(5, KERNELS)
    for b in range(KERNELS):
        m = features @ kernel[:, b]
        for i in range(5):
            wanted[i, b] = sum(torch.exp(-(m[i] - m[j]).abs().sum()) for j in range(5) if j != i)
    torch.testing.assert_close(closeness(features, kernel), wanted)


class ByHand(D):
    """A real concatenation before a real, wider last layer."""

    def __init__(self, *, sigmoid: bool) -> None:
        super().__init__(sigmoid=sigmoid)
        narrow = self.last
        self.last = nn.Linear(WIDTH + KERNELS, 1)
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.weight[:, :WIDTH] = narrow.weight
            self.last.bias.copy_(narrow.bias)
        self.kernel = nn.Parameter(torch.randn(WIDTH, KERNELS, DIMS, generator=own_stream()) / WIDTH**0.5)

    def features(self, x: Tensor) -> Tensor:
        h = super().features(x)
        m = torch.einsum("nf,fkd->nkd", h, self.kernel)
        return torch.cat([h, torch.exp(-(m[None] - m[:, None]).abs().sum(3)).sum(0) - 1], dim=1)


def compare(ours: Script, theirs: Script, added: list[Tensor]) -> None:
    """The wide last weight is the script's beside the added one; all the rest has the same names."""
    found, wanted = ours.tensors(), theirs.tensors()
    kernel, out = (p.detach() for p in added)
    found["d.last.weight"] = torch.cat([found["d.last.weight"].flatten(1), out], dim=1)
    found["d.kernel"] = kernel
    for tensors in (found, wanted):
        for name in [name for name in tensors if name.startswith("optimizer_d")]:
            del tensors[name]
    assert_same(found, wanted, within=1e-6)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_a_real_concatenation(style: str, optimizer: Callable[..., object], tmp_path: Path) -> None:
    """Within 1e-6: two products and their sum are rounded in another order than one wide product."""
    sigmoid = style == "dcgan"
    ours = script(d=lambda: D(sigmoid=sigmoid), optimizer=optimizer)
    theirs = script(d=lambda: ByHand(sigmoid=sigmoid), optimizer=optimizer)
    run = watched(STYLES[style], ours, [TECHNIQUE], tmp_path)
    train(STYLES[style], theirs)
    compare(ours, theirs, run.techniques[0].added()[ours.d.last])


class ConvByHand(ConvD):
    """The 4x4 head is a linear layer on the flattened features; the closeness is concatenated to them."""

    def __init__(self) -> None:
        super().__init__()
        narrow = self.last.weight.detach().flatten(1)
        self.last = nn.Linear(narrow.shape[1] + KERNELS, 1, bias=False)
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.weight[:, : narrow.shape[1]] = narrow
        f = narrow.shape[1]
        self.kernel = nn.Parameter(torch.randn(f, KERNELS, DIMS, generator=own_stream()) / f**0.5)

    def features(self, x: Tensor) -> Tensor:
        h = super().features(x).flatten(1)
        m = torch.einsum("nf,fkd->nkd", h, self.kernel)
        return torch.cat([h, torch.exp(-(m[None] - m[:, None]).abs().sum(3)).sum(0) - 1], dim=1)


def test_equals_a_real_concatenation_before_a_convolution(tmp_path: Path) -> None:
    """A 4x4 convolution on 4x4 features is a linear layer, and is widened as one."""
    ours = script(g=ConvG, d=ConvD, data=lambda: pictures(20))
    theirs = script(g=ConvG, d=ConvByHand, data=lambda: pictures(20))
    run = watched(dcgan, ours, [TECHNIQUE], tmp_path)
    train(dcgan, theirs)
    compare(ours, theirs, run.techniques[0].added()[ours.d.last])


def test_a_patch_head_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """A last layer that slides over a map has no one vector for each sample."""

    class PatchD(ConvD):
        def __init__(self) -> None:
            super().__init__(sigmoid=False)
            self.last = nn.Conv2d(6, 1, 3, padding=1)

        def logits(self, x: Tensor) -> Tensor:
            return self.last(self.features(x))

    with pytest.raises(TechniqueRefused, match=r"slides over a map of 96 numbers, 54 at a time.*minibatch_stddev"):
        watched(dcgan, script(g=ConvG, d=PatchD, data=lambda: pictures(2)), [TECHNIQUE], tmp_path)
