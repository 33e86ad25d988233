"""Statistics of D's logits, held against sorted lists."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import Loop
from references.recording import quantile, std

from gandiag.loop.calls import Kind
from gandiag.probes.base import Row
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

    output = torch.arange(100 * 64, dtype=torch.float32).reshape(100, 1, 8, 8)
    row = Row()
    Logits()._keep(row, "d/logits/real", output, False)
    kept, _ = row.batches["d/logits/real"]
    assert MOST // 2 < len(kept) <= MOST
    assert kept[0] == 0
    assert kept[-1] >= 100 * 64 - 7
    assert kept.untyped_storage().nbytes() == kept.numel() * 4


def test_logits_that_the_script_has_written_over_are_left_out(record: Any) -> None:
    """D's output is kept by reference: a row of which it is not there any more is NaN, not what came after it."""
    outputs: list[torch.Tensor] = []

    def before_g(**_: Any) -> None:
        if len(outputs) % 3 == 0:  # long after D's step has used it
            with torch.no_grad():
                outputs[-1].add_(100)

    plain, _ = record(Loop(), 9)
    columns, _ = record(Loop(before_d=lambda y_real, **_: outputs.append(y_real), before_g=before_g), 9)
    changed = np.arange(9) % 3 == 2
    for name in (name for name in plain if name.startswith(("d/logits/real", "d/accuracy"))):
        np.testing.assert_array_equal(columns[name], np.where(changed, np.nan, plain[name]), err_msg=name)
    for name in (name for name in plain if name.startswith(("d/logits/fake", "g/logits"))):
        np.testing.assert_array_equal(columns[name], plain[name], err_msg=name)


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 1, 3, 3)])
def test_real_and_fake_rows_of_one_batch_are_told_apart(shape: tuple[int, ...]) -> None:
    """`D(cat(real, fake))`: each row goes to its side, as a copy that outlives what the script does to the output."""
    output, rows = torch.randn(shape), torch.tensor([True, False, True, False, False, True])
    row, call = Row(), SimpleNamespace(kind=Kind.CAT, output=output, fake_rows=rows, probability=False)
    Logits().before_step(SimpleNamespace(role="d", calls=[call]), row, None)  # type: ignore[arg-type]
    expected = {"d/logits/real": output[[1, 3, 4]], "d/logits/fake": output[[0, 2, 5]]}
    output.zero_()
    assert {name: batch.tolist() for name, (batch, _) in row.batches.items()} == {
        name: batch.tolist() for name, batch in expected.items()
    }
