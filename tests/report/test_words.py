"""What terminal and HTML say: headline, readings, command lines."""

from __future__ import annotations

import shlex

import pytest
from helpers.diagnoses import collapsed, healthy, measure, mode

from gandiag.report import words


def test_the_headline_is_told_by_the_finding_that_decides() -> None:
    """A collapse is explained by its GD1xx finding, whatever stands first, with onset and last good step."""
    head = words.headline(collapsed())
    assert (head.word, head.code, head.since, head.last_healthy) == ("COLLAPSED", "GD101", 400, 100)
    assert head.why == "2 of 8 modes are never generated."


def test_an_unstable_run_is_not_explained_by_diversity() -> None:
    """The family of the verdict goes before severity."""
    head = words.headline(collapsed(verdict="unstable"))
    assert head.code == "GD201"


def test_a_healthy_headline_names_no_finding() -> None:
    """An `info` finding of a healthy run must not read like a fault."""
    info = {**collapsed()["findings"][0], "severity": "info"}
    head = words.headline(healthy() | {"findings": [info]})
    assert head.code is None
    assert head.word == "HEALTHY"


def test_an_undetermined_run_says_what_was_lacking() -> None:
    """Silence never means healthy: the first reason for not judging is the headline."""
    head = words.headline(collapsed(verdict="undetermined", findings=[]))
    assert head.why == "Gradients were not recorded."


def test_coverage_is_read_as_a_share_of_the_data() -> None:
    """0.59 where perfect reads 0.96 means that 39 % of the data is never generated, not 41 %."""
    assert words.reading("coverage", measure(0.59)) == "about 39 % of the real data is never generated"


@pytest.mark.parametrize(
    "name", ["precision", "recall", "density", "coverage", "frechet", "kid", "vendi", "duplicates", "new"]
)
@pytest.mark.parametrize("value", [0.0, 0.4, 5.0, None])
@pytest.mark.parametrize("null", [0.0, 0.96, None])
def test_every_metric_can_be_read(name: str, value: float | None, null: float | None) -> None:
    """No value, null, sign or unknown name leaves the reader without words."""
    assert words.reading(name, measure(value, null))


def test_a_metric_is_off_only_clear_of_its_null() -> None:
    """Overlapping intervals are no difference, and what was not measured is no fault."""
    assert words.is_off(measure(0.59))
    assert not words.is_off(measure(0.94))
    assert not words.is_off(measure(None))
    assert words.reading("coverage", measure(0.94)) == "no different from real data"


def test_the_worst_modes_are_kept_in_their_order() -> None:
    """Of many modes the missing ones are shown first of all, sorted as in the table, and the rest is counted."""
    table = {"modes": [mode(key, "missing" if key in (3, 40) else "ok") for key in range(50)]}
    shown, left_out = words.worst_modes(table, limit=2)
    assert [row["id"] for row in shown] == [3, 40]
    assert left_out == 48


def test_the_next_command_line_can_be_pasted() -> None:
    """Paths and arguments with spaces and quotes survive the shell."""
    diagnosis = collapsed(run_dir="my runs/it's")
    lines = [line for _, line in words.next_lines(diagnosis, ["python", "train.py", "--name", "a b; rm -rf"])]
    assert shlex.split(lines[0]) == ["gandiag", "remediate", "my runs/it's"]
    assert shlex.split(lines[1]) == [
        *["gandiag", "run", "--enable", "rpgan_r1_r2:gamma=0.1", "--"],
        *["python", "train.py", "--name", "a b; rm -rf"],
    ]


def test_rules_that_lacked_the_same_share_a_line() -> None:
    """Seven times "no snapshot was recorded" is one fact."""
    skipped = [
        {"code": code, "because": "no snapshot" if code != "GD201" else "too short"}
        for code in ("GD101", "GD201", "GD104")
    ]
    assert words.not_judged({"skipped": skipped}) == [("GD101, GD104", "no snapshot"), ("GD201", "too short")]


def test_without_a_recommendation_there_is_nothing_to_type() -> None:
    """A healthy run is left alone."""
    assert words.next_lines(healthy(), None) == []
