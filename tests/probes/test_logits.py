"""Statistics of D's logits, held against sorted lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import Loop
from references.recording import quantile, std

from gandiag.probes.logits import MOST, Logits, as_logits


@pytest.mark.parametrize("batch", [2, 16, 33])
def test_every_column_equals_what_a_sorted_list_says(record: Any, batch: int) -> None:
    """Mean, std, the ranks of the quantiles, the share above zero and the accuracy, for odd and even batches."""
    rows: list[dict[str, list[float]]] = []
    g_means: list[float] = []

    def before_d(*, y_real: torch.Tensor, y_fake: torch.Tensor, **_: Any) -> None:
        rows.append({"real": y_real.flatten().tolist(), "fake": y_fake.flatten().tolist()})

    loop = Loop(
        batch=batch, before_d=before_d, before_g=lambda y_fake, **_: g_means.append(y_fake.double().mean().item())
    )
    columns, _ = record(loop, 12)
    last = batch - 1
    for side in ("real", "fake"):
        values = [row[side] for row in rows]
        expected = {
            "mean": [sum(v) / batch for v in values],
            "std": [std(v) for v in values],
            "q05": [quantile(v, round(0.05 * last)) for v in values],
            "q50": [quantile(v, last // 2) for v in values],
            "q95": [quantile(v, round(0.95 * last)) for v in values],
            "positive": [sum(x > 0 for x in v) / batch for v in values],
        }
        for name, column in expected.items():
            np.testing.assert_allclose(columns[f"d/logits/{side}/{name}"], column, rtol=2e-5, atol=1e-6)
    right = [(sum(x > 0 for x in r["real"]) + sum(x <= 0 for x in r["fake"])) / (2 * batch) for r in rows]
    np.testing.assert_allclose(columns["d/accuracy"], right, rtol=1e-6)
    np.testing.assert_allclose(columns["g/logits/fake/mean"], g_means, rtol=1e-5, atol=1e-7)


def test_a_probability_is_read_as_a_logit(record: Any) -> None:
    """A D that ends in a sigmoid gives the same columns as the same D without it."""
    plain, _ = record(Loop(), 1)
    sigmoid, _ = record(Loop(sigmoid=True), 1)
    for name in plain:
        if "logits" in name or name == "d/accuracy":
            np.testing.assert_allclose(sigmoid[name], plain[name], rtol=1e-4, atol=1e-5)


def test_a_certain_probability_is_a_finite_logit() -> None:
    """0 and 1 become -36.7 and 36.7, 0.5 becomes 0, and 1 - 6e-8 is told from 1."""
    logits = as_logits(torch.tensor([0.0, 0.5, 1 - 6e-8, 1.0]))
    assert torch.isfinite(logits).all()
    assert logits[1] == 0
    assert logits[0] < -36
    assert 16 < logits[2] < 17 < 36 < logits[3]


def test_patch_scores_are_thinned_evenly() -> None:
    """Of thousands of scores at most 1,024 are kept, from the whole of the batch, as a copy of their own."""

    class Call:
        output = torch.arange(100 * 64, dtype=torch.float32).reshape(100, 1, 8, 8)
        probability = False

    from gandiag.probes.base import Row

    row = Row()
    Logits()._keep(row, "d/logits/real", Call())  # type: ignore[arg-type]
    kept = row.batches["d/logits/real"]
    assert MOST // 2 < len(kept) <= MOST
    assert kept[0] == 0
    assert kept[-1] >= 100 * 64 - 7
    assert kept.untyped_storage().nbytes() == kept.numel() * 4
