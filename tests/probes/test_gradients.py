"""Gradient norms, held against sums of squares."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import Loop
from references.recording import norm

from gandiag.probes.base import Row
from gandiag.probes.gradients import Gradients, norms


def test_norms_equal_sums_of_squares_for_each_parameter_and_in_total(record: Any) -> None:
    """One column for each parameter under its own name, and the total of all, for D and for G."""
    expected: dict[str, list[float]] = {}

    def note(role: str, net: torch.nn.Module) -> None:
        gradients = {name: p.grad for name, p in net.named_parameters()}
        for name, gradient in gradients.items():
            expected.setdefault(f"grad/{role}/{name}", []).append(norm([gradient]))
        expected.setdefault(f"grad/{role}/total", []).append(norm(list(gradients.values())))

    loop = Loop(before_d=lambda **_: note("d", loop.d), before_g=lambda **_: note("g", loop.g))
    columns, _ = record(loop, 8)
    assert {name for name in columns if name.startswith("grad/")} == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(columns[name], values, rtol=2e-5)


def test_it_sees_what_the_optimizer_uses(record: Any) -> None:
    """Clipping between backward and step is in the recorded norm."""
    loop = Loop(before_d=lambda **_: torch.nn.utils.clip_grad_norm_(loop.d.parameters(), 1e-3))
    columns, _ = record(loop, 5)
    np.testing.assert_allclose(columns["grad/d/total"], 1e-3, rtol=1e-3)


def test_a_parameter_without_a_gradient_has_no_number(record: Any) -> None:
    """Frozen parameters are left out, and their rows are NaN once they thaw; nonfinite does not count those."""
    loop = Loop()

    def freeze(**_: Any) -> None:
        loop.g[0].bias.requires_grad_(len(seen) >= 3)  # type: ignore[index]
        seen.append(0)

    seen: list[int] = []
    loop.g[0].bias.requires_grad_(False)  # type: ignore[index]
    loop.before_g = freeze
    columns, _ = record(loop, 8)
    assert np.isnan(columns["grad/g/0.bias"]).tolist() == [True] * 4 + [False] * 4
    assert not columns["numerics/nonfinite"].any()


def test_half_precision_does_not_overflow() -> None:
    """A norm of 128,000 from float16 numbers that each fit is a number."""
    assert norms([torch.full((16,), 32_000.0, dtype=torch.float16)])[0] == 128_000


def test_a_sparse_gradient_has_a_norm() -> None:
    """An embedding's gradient with a row twice counts the sum of the two, as the optimizer will."""
    indices = torch.tensor([[0, 0, 1]])
    sparse = torch.sparse_coo_tensor(indices, torch.tensor([[3.0], [0.0], [4.0]]), (3, 1), check_invariants=True)
    assert norms([sparse])[0] == pytest.approx(5.0)


def test_a_fused_optimizer_under_a_grad_scaler_is_unscaled() -> None:
    """The fused step unscales inside its kernel, after the hook: the recorded norm is without the scale."""
    from gandiag.probes.gradients import scale_of

    optimizer = SimpleNamespace(grad_scale=torch.tensor(1024.0))
    assert scale_of(optimizer) == 1024  # type: ignore[arg-type]
    assert scale_of(SimpleNamespace(grad_scale=None)) is None  # type: ignore[arg-type]
    assert scale_of(SimpleNamespace()) is None  # type: ignore[arg-type]


def test_norms_of_several_devices_meet_where_nobody_waits() -> None:
    """A net whose first layer is on the host and whose last is on a device: all norms are on that device."""
    assert {x.device.type for x in norms([torch.ones(3), torch.ones(3, device="meta")])} == {"meta"}


def test_what_is_known_of_an_optimizer_goes_with_the_table_of_nets() -> None:
    """A script that makes its optimizers anew, again and again, does not fill the memory."""
    probe, net = Gradients(), torch.nn.Linear(2, 1)
    for version in range(20):
        net(torch.ones(1, 2)).sum().backward()
        step = SimpleNamespace(role="d", optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
        observer = SimpleNamespace(units=SimpleNamespace(version=version), nets=lambda role: [net])
        probe.before_step(step, Row(), observer)  # type: ignore[arg-type]
    assert len(probe._columns) == 1
