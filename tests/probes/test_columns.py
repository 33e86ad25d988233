"""From rows of tensors to columns: grouping, gaps, one transfer."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gandiag.probes._columns import Columns
from gandiag.probes.base import Row


def mean_only(prefix: str, batch: Tensor) -> dict[str, Tensor]:
    return {f"{prefix}/mean": batch.mean(dim=1)}


def columns(rows: list[Row]) -> dict[str, np.ndarray]:
    for i, row in enumerate(rows):
        row.iteration = i + 1
    return Columns(rows, mean_only).result()


def test_each_number_lands_in_its_row() -> None:
    """Scalars, vectors and batches of different sizes, in any mix; NaN where a row has none."""
    rows = [
        Row(scalars={"a": torch.tensor(1.0), "b": 2.0}, batches={"x": (torch.tensor([1.0, 3.0]), 0)}),
        Row(vectors={("u", "v"): torch.tensor([5.0, 6.0])}),
        Row(scalars={"a": 3}, vectors={("u",): torch.tensor([7.0])}, batches={"x": (torch.tensor([1.0, 2.0, 6.0]), 0)}),
    ]
    found = columns(rows)
    nan = float("nan")
    expected = {"a": [1, nan, 3], "b": [2, nan, nan], "u": [nan, 5, 7], "v": [nan, 6, nan], "x/mean": [2, nan, 3]}
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], np.float32(values))
    assert found["iteration"].tolist() == [1, 2, 3]
    assert {c.dtype for name, c in found.items() if name != "iteration"} == {np.dtype("float32")}
    assert set(found) == {*expected, "iteration", "time", "numerics/nonfinite"}


def test_a_vector_may_be_a_tensor_in_one_row_and_a_list_in_the_next() -> None:
    """Norms that are unscaled in some rounds and not in others, in one column and its total."""
    names = ("grad/d/w", "grad/d/b", "grad/d/total")
    three, four = torch.tensor(3.0), torch.tensor(4.0)
    found = columns([Row(vectors={names: [three, four]}), Row(vectors={names: torch.stack([four, three])})])
    assert [found[name].tolist() for name in names] == [[3, 4], [4, 3], [5, 5]]


def test_a_batch_that_was_written_over_is_left_out() -> None:
    """Kept by reference, and another version by now: NaN, and the other rows' numbers are right."""
    batches = [torch.full((2,), float(i)) for i in range(3)]
    rows = [Row(batches={"x": (batch, batch._version)}) for batch in batches]
    batches[1].add_(100)
    np.testing.assert_array_equal(columns(rows)["x/mean"], np.float32([0, np.nan, 2]))


def test_nonfinite_counts_what_was_measured_and_is_no_number() -> None:
    """Losses and gradients that are NaN or infinite, tensors or numbers; NaN where neither was measured."""
    inf, nan = float("inf"), float("nan")
    rows = [
        Row(
            scalars={"loss/d": torch.tensor(nan), "user": nan},
            vectors={("grad/d/w", "grad/d/b"): torch.tensor([inf, 1])},
        ),
        Row(scalars={"loss/d": torch.tensor(1.0)}),
        Row(scalars={"loss/d": inf, "loss/g": 2.0}),
        Row(scalars={"user": nan}),
    ]
    np.testing.assert_array_equal(columns(rows)["numerics/nonfinite"], np.float32([2, 0, 1, nan]))


def test_other_types_are_made_float32() -> None:
    """Half, double and integer tensors in one row, with shape () or (1,)."""
    row = Row(scalars={"h": torch.tensor(0.5, dtype=torch.half), "d": torch.tensor([2.5], dtype=torch.double)})
    row.scalars["i"] = torch.tensor(3)
    row.batches["x"] = torch.tensor([1.0, 2.0], dtype=torch.bfloat16), 0
    found = columns([row])
    assert [float(found[name][0]) for name in ("h", "d", "i", "x/mean")] == [0.5, 2.5, 3.0, 1.5]


def test_a_batch_that_no_probe_reduces_any_more_is_left_out() -> None:
    """What a probe kept before it was switched off does no harm."""
    found = Columns([Row(iteration=1, batches={"x": (torch.ones(3), 0)})], lambda prefix, batch: {}).result()
    assert set(found) == {"iteration", "time", "numerics/nonfinite"}
