"""The spread of a fake batch over that of a real one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from helpers.training import Loop
from references.recording import std

from gandiag.probes.samples import MOST, _spread


def spread(x: torch.Tensor) -> float:
    columns = [column.tolist() for column in x.flatten(1).T]
    return sum(std(column, lost=1) for column in columns) / len(columns)


def test_it_is_the_mean_std_of_fake_over_real(record: Any) -> None:
    """Dimension by dimension, in each tenth iteration, NaN elsewhere."""
    expected: list[float] = []
    loop = Loop(before_d=lambda real, fake, **_: expected.append(spread(fake) / spread(real)))
    columns, _ = record(loop, 22)
    column = columns["sample/std_ratio"]
    assert np.flatnonzero(~np.isnan(column)).tolist() == [0, 10, 20]
    np.testing.assert_allclose(column[[0, 10, 20]], [expected[i] for i in (0, 10, 20)], rtol=1e-4)


def test_a_generator_that_puts_out_one_point_has_a_ratio_of_zero(record: Any) -> None:
    """Point collapse shows at once, without a metric."""
    loop = Loop()
    with torch.no_grad():
        loop.g[-1].weight.zero_()  # type: ignore[index]
    loop.optimizer_g = torch.optim.SGD(loop.g.parameters(), lr=0.0)  # type: ignore[assignment]
    columns, _ = record(loop, 1)
    assert columns["sample/std_ratio"][0] < 1e-6


def test_large_samples_are_looked_at_in_part() -> None:
    """Every k-th number of a long sample, so that at most 4,096 are read and the whole is covered."""
    x = torch.cat([torch.randn(64, 3 * MOST), 3 * torch.randn(64, MOST)], dim=1)
    assert abs(float(_spread(x)) - 1.5) < 0.05
