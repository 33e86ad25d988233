"""Steps that a GradScaler left out, in loops in which the script knows which ones they are."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import X, Z, discriminator, fingerprint, generator
from torch import nn

import gandiag
from gandiag.rundir import RunReader

Bad = Collection[tuple[int, int]]
FUSED = pytest.mark.parametrize("fused", [False, True], ids=["unfused", "fused"])


def train(steps: int, *, fused: bool, bad_d: Bad = (), bad_g: Bad = (), n_d: int = 2) -> Callable[[Any], str]:
    """A loop with `n_d` steps of D an iteration; a loss is made infinite in each (iteration, step) of `bad_*`."""

    def loop(watch: Callable[[nn.Module, nn.Module], Any] | None) -> str:
        torch.manual_seed(0)
        g, d = generator(), discriminator()
        og, od = (torch.optim.Adam(net.parameters(), lr=1e-3, fused=fused) for net in (g, d))
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        run = watch(g, d) if watch else None

        def move(optimizer: torch.optim.Optimizer, loss: torch.Tensor, bad: bool) -> None:
            optimizer.zero_grad()
            scaler.scale(loss * float("inf") if bad else loss).backward()
            scaler.step(optimizer)
            scaler.update()

        for i in range(1, steps + 1):
            for k in range(n_d):
                real, fake = torch.randn(8, X), g(torch.randn(8, Z)).detach()
                move(od, (d(fake) - d(real)).mean(), (i, k) in bad_d)
            move(og, -d(g(torch.randn(8, Z))).mean(), (i, 0) in bad_g)
        if run is not None:
            run.close()
        return fingerprint(g.state_dict(), d.state_dict(), og.state_dict(), od.state_dict(), scaler.state_dict())

    return loop


def recorded(tmp_path: Path, loop: Callable[[Any], str]) -> dict[str, np.ndarray]:
    """The columns of a loop, which ends with the same bits as unwatched."""
    plain = loop(None)
    assert loop(lambda g, d: gandiag.watch(g, d, run_dir=tmp_path / "run", strict=True)) == plain
    return RunReader(tmp_path / "run").scalars()


@FUSED
def test_each_skipped_step_is_counted_once_in_its_iteration(tmp_path: Path, fused: bool) -> None:
    """Of two D steps and one G step an iteration: none, one of D, both of D, one of G, in turn; nothing is lost."""
    columns = recorded(tmp_path, train(6, fused=fused, bad_d={(2, 1), (4, 0), (4, 1)}, bad_g={(5, 0)}))
    assert columns["skipped/d"].tolist() == [0, 1, 0, 2, 0, 0]
    assert columns["skipped/g"].tolist() == [0, 0, 0, 0, 1, 0]
    assert columns["d_steps"].tolist() == [2] * 6
    assert columns["g_steps"].tolist() == [1] * 6


@FUSED
def test_a_skipped_step_touches_no_other_row(tmp_path: Path, fused: bool) -> None:
    """The norms and losses of all other iterations stay finite, and `nonfinite` marks that iteration alone."""
    columns = recorded(tmp_path, train(6, fused=fused, bad_d={(3, 0)}, n_d=1))
    assert np.flatnonzero(columns["numerics/nonfinite"]).tolist() == [2]
    assert np.flatnonzero(~np.isfinite(columns["grad/d/total"])).tolist() == [2]
    assert np.isfinite(columns["grad/g/total"]).all()
    assert columns["skipped/d"].tolist() == [0, 0, 1, 0, 0, 0]


def test_a_loop_without_a_scaler_has_no_such_columns(record: Any) -> None:
    """What cannot happen is not recorded."""
    from helpers.training import Loop

    columns, _ = record(Loop(), 3)
    assert not [name for name in columns if name.startswith("skipped")]
