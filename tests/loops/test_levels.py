"""Levels through tensor operations: what G made is known behind any of them, and no label is made up."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from loops.idioms.augmentation import augment
from torch import Tensor, nn
from torch.nn import functional as F

from gandiag.loop.calls import Call
from gandiag.loop.taint import Taint

N = 6


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


@pytest.fixture
def taint() -> Any:
    """A taint pass at work, without an observer: `seed` says what G has made."""
    said: list[str] = []
    pass_ = Taint(lambda: 0, said.append)
    pass_.start()
    yield pass_
    assert pass_.stop()
    assert not said


def made(taint: Taint, *shape: int) -> Tensor:
    """What a G has put out, detached."""
    fake = torch.randn(shape or (N, 2))
    taint.seed(fake, Call(nn.Identity(), frozenset({0}), (), {}, True), made_by_g=True)
    return fake.detach()


def told(taint: Taint, x: Tensor) -> str:
    """What the pass says of a batch: "fake", "clean", rows as "ff.." or "?"."""
    trace = taint.trace(x)
    if trace is not None:
        return "fake" if trace.rows is None else "".join(".f"[int(row)] for row in trace.rows)
    return "clean" if taint.clean(x) else "?"


PERMUTATION = torch.tensor([3, 0, 5, 1, 4, 2])
KERNEL = torch.ones(3, 3, 3, 3)
DATA = torch.as_tensor(np.random.default_rng(0).normal(size=(N, 2)), dtype=torch.float32)  # from outside of torch


@pytest.mark.parametrize(
    "work",
    [
        lambda x: augment(x),
        lambda x: x + 0.1 * torch.randn(N, 2),
        lambda x: x.clone().half().float(),
        lambda x: (x * 127).round().to(torch.uint8).float() / 127,
        lambda x: x.view(N, 2)[PERMUTATION].flip(1),
        lambda x: torch.cat([row[None] for row in x]),
        lambda x: torch.stack(list(x.unbind())),
        lambda x: torch.cat([x, DATA], 1),
        lambda x: F.pad(x, (1, 1)).roll(1, 0),
        lambda x: x.add_(1).mul_(2),
        lambda x: torch.empty(N, 2).copy_(x),
        lambda x: torch.where(torch.rand(N, 1) < 0.5, x, x + 1),
        lambda x: (x - x.mean(0)) / x.std(0),
        lambda x: x @ torch.eye(2),
        lambda x: torch.fft.ifft(torch.fft.fft(x)).real,
    ],
)
def test_what_g_made_stays_known(taint: Taint, work: Callable[[Tensor], Tensor]) -> None:
    """Arithmetic, casts, copies, shuffles, conditions beside it: still a fake, and the same of data is clean."""
    assert told(taint, work(made(taint))) == "fake"
    assert told(taint, work(DATA.clone())) == "clean"


def test_images_stay_known(taint: Taint) -> None:
    """Blur, resize, crop, shift and cut-out on (n, c, h, w)."""
    fake = made(taint, N, 3, 8, 8)
    blurred = F.conv2d(fake, KERNEL, padding=1)
    grid = F.affine_grid(torch.eye(2, 3).expand(N, 2, 3), [N, 3, 8, 8], False)
    moved = F.grid_sample(blurred, grid, align_corners=False)
    assert told(taint, F.interpolate(moved, size=4)[:, :, :3] * torch.ones(N, 1, 3, 4)) == "fake"


def test_rows_are_told_apart(taint: Taint) -> None:
    """Joined, augmented, shuffled, sliced, written into a buffer: each row keeps what it is."""
    fake, data = made(taint), DATA.clone()
    both = torch.cat([data[:2], fake[:3]])
    assert told(taint, both) == "..fff"
    assert told(taint, augment(both)) == "..fff"
    assert told(taint, both + 0.1 * torch.randn(5, 2)) == "..fff"
    assert told(taint, both[torch.tensor([4, 0, 1, 3])].half().float()) == "f..f"
    assert told(taint, both[:2]) == "clean"
    assert told(taint, both[2:]) == "fake"
    assert told(taint, both @ torch.eye(2)) == "..fff"
    assert told(taint, torch.where(torch.tensor([[True], [False]] * 3), data, fake)) == ".f.f.f"
    buffer = torch.zeros(4, 2)
    buffer[1:3] = fake[:2]
    assert told(taint, buffer) == ".ff."
    assert told(taint, buffer.copy_(data[:4])) == "clean"
    images = torch.cat([torch.randn(2, 3, 8, 8), made(taint, 2, 3, 8, 8)])
    assert told(taint, F.conv2d(images, KERNEL, padding=1)) == "..ff"


def test_of_what_is_neither_it_says_nothing(taint: Taint) -> None:
    """Interpolates, cut-mix, data less the fakes' mean, what a net has touched that is not G: no label is made up."""
    fake, data, average = made(taint), DATA.clone(), copy.deepcopy(Net())
    weight = torch.rand(N, 1)
    assert told(taint, weight * data + (1 - weight) * fake) == "?"
    assert told(taint, torch.lerp(data, fake, weight)) == "?"
    assert told(taint, torch.where(torch.tensor([True, False]), data, fake)) == "?"
    both = torch.cat([data, fake])
    assert told(taint, both.sort(0).values) == "?"
    assert told(taint, both.cumsum(0)) == "?"
    assert told(taint, torch.eye(2 * N) @ both) == "?"
    assert told(taint, data.scatter(0, PERMUTATION[:, None].expand(N, 2), fake)) == "?"
    assert told(taint, data.index_copy(0, PERMUTATION[:2], fake[:2])) == "?"
    assert told(taint, data.index_put((PERMUTATION[:2],), fake[:2])) == "?"
    assert told(taint, torch._foreach_add([fake], 1.0)[0]) == "?"
    assert told(taint, data - fake.mean(0)) == "?"
    assert told(taint, data * fake.std()) == "?"
    assert told(taint, average(torch.randn(N, 2)).detach()) == "?"
    assert told(taint, torch.randn(N, 2) @ average.layer.weight.data.t()) == "?"
    assert told(taint, torch.empty(N, 2)) == "?"
    assert told(taint, torch.cat([data, average(data)]).detach()) == "?"
    assert told(taint, torch.cat([torch.cat([data, fake]), weight.repeat(2, 1)], 1)) == "?"


WAYS: list[Callable[[Tensor], Any]] = [
    lambda x: x.numpy(),
    lambda x: x.tolist(),
    np.asarray,
    lambda x: [[value.item() for value in row] for row in x],
    lambda x: pickle.loads(pickle.dumps(x)).clone(),
]


@pytest.mark.parametrize("way", WAYS)
def test_what_comes_back_from_outside_is_not_clean(taint: Taint, way: Callable[[Tensor], Any]) -> None:
    """Once values of G have left torch, whatever comes from outside may be theirs; random numbers never are."""
    fake = made(taint)
    assert told(taint, DATA + 1) == "clean"
    outside = torch.as_tensor(way(fake))
    assert told(taint, outside) == "?"
    assert told(taint, torch.randn(N, 2) + 3) == "clean"


def test_weights_do_not_carry_it(taint: Taint) -> None:
    """A step with the gradients of fakes makes no fakes of what the nets put out afterwards."""
    net, bare = Net(), torch.randn(2, 2).requires_grad_()
    optimizer = torch.optim.Adam([*net.parameters(), bare])
    taint.weights(optimizer)
    net(made(taint)).mean().backward()
    optimizer.step()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.clamp_(-1, 1)
    assert told(taint, net(torch.randn(N, 2)).detach()) == "?"
    assert told(taint, net.layer.bias.data) == "?"
    assert told(taint, torch.randn(N, 2) @ bare) == "?"
    assert told(taint, DATA + 1) == "clean"
    assert told(taint, torch.tensor(DATA.tolist())) == "clean"
