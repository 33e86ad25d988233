"""How far a step moves the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from helpers.training import Loop
from references.recording import norm


def test_the_ratio_is_that_of_the_weights_before_and_after(record: Any) -> None:
    """|after - before| / |before| over all parameters of a net, in iterations 1 and 51, and NaN elsewhere."""
    before: dict[str, list[torch.Tensor]] = {}
    expected: dict[str, dict[int, float]] = {"d": {}, "g": {}}
    done = {"d": 0, "g": 0}

    def settle(role: str) -> None:
        now = [p.detach().clone() for p in (loop.d if role == "d" else loop.g).parameters()]
        if role in before:
            moved = [a - b for a, b in zip(now, before[role], strict=True)]
            expected[role][done[role]] = norm(moved) / norm(before[role])
        before[role] = now
        done[role] += 1

    loop = Loop(before_d=lambda **_: settle("d"), before_g=lambda **_: settle("g"))
    columns, _ = record(loop, 55)
    for role in ("d", "g"):
        column = columns[f"update/{role}"]
        measured = [0, 50]
        assert np.flatnonzero(~np.isnan(column)).tolist() == measured
        np.testing.assert_allclose(column[measured], [expected[role][i + 1] for i in measured], rtol=1e-3)


def test_sgd_by_hand(record: Any) -> None:
    """With plain SGD the ratio is rate times gradient norm over weight norm."""
    seen: list[float] = []
    loop = Loop()
    loop.optimizer_d = torch.optim.SGD(loop.d.parameters(), lr=0.1)  # type: ignore[assignment]
    loop.before_d = lambda **_: seen.append(
        0.1 * norm([p.grad for p in loop.d.parameters()]) / norm([*loop.d.parameters()])
    )
    columns, _ = record(loop, 1)
    np.testing.assert_allclose(columns["update/d"][0], seen[0], rtol=1e-4)
