"""What probes share: names of parameters, rows of mixed batches, numbers of several devices."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gandiag.probes.base import Names, split_rows, together

FAKE = torch.tensor([False, True, True, False, True])


class Reads(TorchDispatchMode):
    """Counts the operations whose result has a size that only the values of a mask tell."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        masks = args[1] if name == "aten::index" else []
        self.count += name == "aten::nonzero" or any(m is not None and m.dtype is torch.bool for m in masks)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "x", [torch.randn(5), torch.randn(5, 3), torch.randn(3, 5).T, torch.randn(5, 2, 4, 4)], ids=lambda x: str(x.shape)
)
def test_rows_are_those_of_the_mask(x: torch.Tensor) -> None:
    """The very bits, shapes and strides of `x[~fake]` and `x[fake]`."""
    for found, expected in zip(split_rows(x, FAKE), (x[~FAKE], x[FAKE]), strict=True):
        assert torch.equal(found, expected)
        assert found.stride() == expected.stride()


def test_a_mask_is_read_once() -> None:
    """On a GPU reading one waits for all that runs there: the mask of a place comes back in each round."""
    mask = FAKE.clone()
    split_rows(torch.randn(5, 2), mask)
    with Reads() as reads:
        split_rows(torch.randn(5, 2), mask)
        assert reads.count == 0
        split_rows(torch.randn(5, 2), mask.clone())
        assert reads.count == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_nobody_waits() -> None:
    """A mask on the host, seen for the first time, and one on the GPU that has been seen before."""
    x, there = torch.randn(5, 2, device="cuda"), FAKE.to("cuda")
    split_rows(x, there)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [split_rows(x, FAKE.clone()), split_rows(x, there)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for real, fake in found:
        assert torch.equal(real, x[~there])
        assert torch.equal(fake, x[there])


def test_numbers_of_two_devices_meet_on_that_which_is_not_the_host() -> None:
    """A copy to the host would have to be waited for; those of one device stay the very tensors that they were."""
    here, there = torch.tensor(1.0), torch.tensor(1.0, device="meta")
    assert {x.device.type for x in together([here, there])} == {"meta"}
    alike = [here, here.clone()]
    assert together(alike) is alike


def test_nets_that_are_no_longer_trained_are_let_go() -> None:
    """Five trials in one process: once the table of nets has been rebuilt, the weights of earlier ones are free."""
    names, seen = Names(), []
    for trial in range(5):
        net = nn.Linear(2, 2)
        step, observer = a_step_of(net, version=trial)
        assert [name for name, _ in names.of(step, observer)] == ["d/weight", "d/bias"]
        assert names.of(step, observer) is names.of(step, observer)
        seen.append(weakref.ref(net.weight))
    del net, step, observer
    gc.collect()
    assert [ref() is not None for ref in seen] == [False] * 4 + [True]


def test_two_optimizers_of_one_table_are_both_known() -> None:
    """What is dropped is of other tables only: D's and G's optimizers take turns."""
    names, (a, observer), (b, _) = Names(), a_step_of(nn.Linear(2, 2)), a_step_of(nn.Linear(2, 2))
    first, _ = names.of(a, observer), names.of(b, observer)
    assert names.of(a, observer) is first


def a_step_of(net: nn.Module, *, version: int = 0) -> Any:
    """A step of D's and the observer who tells of it."""
    step = SimpleNamespace(role="d", optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    return step, SimpleNamespace(units=SimpleNamespace(version=version), nets=lambda role: [net])
