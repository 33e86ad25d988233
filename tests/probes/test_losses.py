"""Losses are those that the script computed, whatever it did with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import Loop, N, Z

import gandiag
from gandiag.probes.losses import total
from gandiag.rundir import RunReader


def test_they_equal_what_the_script_would_print(record: Any) -> None:
    """`loss/d` and `loss/g` are the very float32 numbers of the two backward calls."""
    seen: dict[str, list[float]] = {"d": [], "g": []}
    loop = Loop(
        before_d=lambda loss, **_: seen["d"].append(loss.item()),
        before_g=lambda loss, **_: seen["g"].append(loss.item()),
    )
    columns, _ = record(loop, 30)
    np.testing.assert_array_equal(columns["loss/d"], np.float32(seen["d"]))
    np.testing.assert_array_equal(columns["loss/g"], np.float32(seen["g"]))


def test_two_backward_calls_of_one_step_are_summed(tmp_path: Path) -> None:
    """D's loss on real and on fake, each with a backward of its own, make one `loss/d`."""
    loop, expected = Loop(), []
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", strict=True):
        for _ in range(5):
            fake = loop.g(torch.randn(N, Z))
            loop.optimizer_d.zero_grad()
            losses = [loop.loss(loop.d(loop.real()), 1.0), loop.loss(loop.d(fake.detach()), 0.0)]
            for loss in losses:
                loss.backward()
            loop.optimizer_d.step()
            loop.optimizer_g.zero_grad()
            loop.loss(loop.d(fake), 1.0).backward()
            loop.optimizer_g.step()
            expected.append(sum(loss.item() for loss in losses))
    np.testing.assert_allclose(RunReader(tmp_path / "run").scalars()["loss/d"], expected, rtol=1e-6)


def test_a_loss_given_by_its_gradients_is_a_weighted_sum(tmp_path: Path) -> None:
    """`y.backward(w)` descends on sum(w * y), and that is what is recorded: Wasserstein loops do it with 1 and -1."""
    loop, expected = Loop(), []
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", strict=True):
        for _ in range(3):
            loop.optimizer_d.zero_grad()
            y_real, y_fake = loop.d(loop.real()), loop.d(loop.g(torch.randn(N, Z)).detach())
            y_real.backward(-torch.ones_like(y_real))
            y_fake.backward(torch.ones_like(y_fake))
            loop.optimizer_d.step()
            loop.optimizer_g.zero_grad()
            loop.d(loop.g(torch.randn(N, Z))).mean().backward()
            loop.optimizer_g.step()
            expected.append(y_fake.sum().item() - y_real.sum().item())
    np.testing.assert_allclose(RunReader(tmp_path / "run").scalars()["loss/d"], expected, rtol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_recorded_and_counted(record: Any, bad: float) -> None:
    """NaN and infinite losses stay in the column, and `numerics/nonfinite` counts them with the gradients."""
    loop = Loop()
    plain = loop.loss
    loop.loss = lambda output, target: plain(output, target) * bad  # type: ignore[method-assign]
    columns, _ = record(loop, 3)
    assert not np.isfinite(columns["loss/d"]).any()
    assert (columns["numerics/nonfinite"] > 0).all()


def test_one_loss_is_its_own_total() -> None:
    """Nothing is computed for the most usual case, a tensor or a number."""
    loss = torch.tensor(1.0)
    assert total([loss]) is loss
    assert total([2.5]) == 2.5


def test_the_total_is_in_single_precision_and_takes_numbers_too() -> None:
    """Half, double and plain numbers, with shape () or (1,)."""
    found = total([torch.tensor([0.5], dtype=torch.half), 2.0, torch.tensor(1.0, dtype=torch.double)])
    assert isinstance(found, torch.Tensor)
    assert (float(found), found.dtype, found.shape) == (3.5, torch.float32, torch.Size([]))


def test_losses_of_two_devices_have_a_total() -> None:
    """Two Ds on two devices, and one on the host: the sum is on a device."""
    found = total([torch.tensor(1.0), torch.tensor(2.0, device="meta"), 3.0])
    assert isinstance(found, torch.Tensor)
    assert found.device.type == "meta"
