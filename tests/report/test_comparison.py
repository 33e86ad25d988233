"""Two runs side by side."""

from __future__ import annotations

import io
from typing import Any

from helpers.diagnoses import HOSTILE, collapsed, healthy, measure
from rich.console import Console

from gandiag.report.comparison import compare, show


def printed(compared: dict[str, Any]) -> str:
    stream = io.StringIO()
    show(compared, Console(file=stream, width=100, highlight=False))
    return stream.getvalue()


def test_a_difference_is_clear_where_intervals_part() -> None:
    """0.59 against 0.95 is a difference, 0.95 against 0.96 is none, and what one run lacks can't be compared."""
    first = collapsed(
        metrics={name: measure(0.59) for name in ("coverage", "recall", "only")} | {"density": measure(0.95)}
    )
    second = collapsed(metrics={"coverage": measure(0.95), "density": measure(0.96), "recall": measure(None)})
    metrics = compare(first, second)["metrics"]
    assert {name: row["clear"] for name, row in metrics.items()} == {
        "coverage": True,
        "density": False,
        "recall": False,
        "only": False,
    }
    assert abs(metrics["coverage"]["difference"] - 0.36) < 1e-9
    assert metrics["only"]["difference"] is None


def test_better_is_nearer_to_real_data() -> None:
    """A density of 24 where real data read 1 is no success, though it is larger than before."""
    shrunken = collapsed(metrics={"density": measure(24.0, 1.0)})
    plain = collapsed(metrics={"density": measure(1.2, 1.0)})
    assert "worse" in printed(compare(plain, shrunken))
    assert "better" in printed(compare(shrunken, plain))


def test_modes_are_matched_by_label_only() -> None:
    """Cluster 3 of one run is not cluster 3 of the other; class 3 is class 3."""
    clusters, labels = collapsed(), collapsed(modes={**collapsed()["modes"], "source": "labels"})
    assert compare(clusters, clusters)["modes"]["modes"] == []
    compared = compare(labels, healthy())
    assert [row["id"] for row in compared["modes"]["modes"]] == list(range(8))
    assert "missing" in printed(compared)
    assert "cannot be matched" in printed(compare(clusters, clusters))


def test_runs_with_nothing_to_compare_are_still_shown() -> None:
    """Verdicts and findings are all that some runs have."""
    bare = collapsed(metrics={}, modes=None)
    assert "COLLAPSED" in printed(compare(bare, bare))


def test_hostile_names_are_only_shown() -> None:
    """Paths and metric names reach the terminal as visible text."""
    hostile = collapsed(run_dir=HOSTILE, metrics={HOSTILE: measure(0.5)})
    assert "\x1b" not in printed(compare(hostile, hostile))
