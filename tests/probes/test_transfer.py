"""Bringing tensors to the host."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gandiag.probes._transfer import Transfer


def test_on_the_cpu_it_is_done_at_once() -> None:
    """Ready from the start, same values, types kept; tensors with a graph too."""
    tensors = {"a": torch.arange(3.0, requires_grad=True), "b": torch.tensor([1, 2], dtype=torch.uint8)}
    transfer = Transfer(tensors)
    assert transfer.ready()
    found = transfer.result()
    np.testing.assert_array_equal(found["a"], [0.0, 1.0, 2.0])
    assert found["b"].dtype == np.uint8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_nobody_waits() -> None:
    """Starting a transfer and asking for it are no synchronisation; the result is right once asked for."""
    tensor = torch.arange(1_000_000, device="cuda", dtype=torch.float32)
    torch.cuda.set_sync_debug_mode("error")
    try:
        transfer = Transfer({"a": tensor})
        transfer.ready()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    np.testing.assert_array_equal(transfer.result()["a"], np.arange(1_000_000, dtype=np.float32))


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_on_two_gpus_both_have_arrived() -> None:
    """It is ready when the copies of both are, whichever is slower."""
    slow = torch.rand(4096, 4096, device="cuda:1")
    for _ in range(50):
        slow = (slow @ slow).clamp(0, 1)
    tensors = {"a": torch.ones(8, device="cuda:0"), "b": slow.sum().reshape(1)}
    transfer = Transfer(tensors)
    while not transfer.ready():
        pass
    assert transfer.result()["b"][0] == pytest.approx(float(slow.sum()))
