"""On a GPU: nothing waits for it, and nothing is disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import gandiag
from gandiag.rundir import RunReader

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def train(path: Path | None, steps: int, *, joined: bool = False) -> list[torch.Tensor]:
    """A loop that itself never waits for the GPU; returns the weights that it ends with."""
    torch.manual_seed(0)
    g = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 16)).cuda()
    d = nn.Sequential(nn.Linear(16, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)).cuda()
    of_g, of_d = (torch.optim.Adam(net.parameters(), lr=1e-3, fused=True) for net in (g, d))
    data = torch.randn(4096, 16, device="cuda")
    run = gandiag.watch(g, d, run_dir=path, strict=True) if path is not None else None
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for i in range(steps):
            real, fake = data[i % 32 * 128 : (i % 32 + 1) * 128], g(torch.randn(128, 8, device="cuda"))
            of_d.zero_grad()
            if joined:
                score = d(torch.cat([real, fake.detach()]))
                loss = score[128:].mean() - score[:128].mean()
            else:
                loss = d(fake.detach()).mean() - d(real).mean()
            loss.backward()
            of_d.step()
            of_g.zero_grad()
            (-d(fake).mean()).backward()
            of_g.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    if run is not None:
        run.close()
    return [p.detach().clone() for net in (g, d) for p in net.parameters()]


@pytest.mark.parametrize("joined", [False, True])
def test_a_thousand_iterations_without_a_synchronisation(tmp_path: Path, joined: bool) -> None:
    """Rows, flushes and snapshots all happen, under a mode in which waiting for the GPU is an error."""
    train(tmp_path / "run", 1000, joined=joined)
    run = RunReader(tmp_path / "run")
    assert len(run.scalars()["iteration"]) == 1000
    assert run.snapshot_steps()
    assert run.info.blind_spots == []


def test_no_bit_is_changed(tmp_path: Path) -> None:
    """With deterministic algorithms the weights are those of the same loop unwatched."""
    torch.use_deterministic_algorithms(True)
    try:
        for alone, watched in zip(train(None, 300), train(tmp_path / "run", 300), strict=True):
            assert torch.equal(alone, watched)
    finally:
        torch.use_deterministic_algorithms(False)
