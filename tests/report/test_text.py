"""Numbers and foreign texts as short, harmless strings."""

from __future__ import annotations

import math

import pytest

from gandiag.report.text import number, percent, sentence, short, value_text, visible, whole


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.594, "0.59"),
        (0.0312, "0.031"),
        (4.5e-7, "4.5e-07"),
        (12345.6, "12,346"),
        (math.nan, "–"),
        (-math.inf, "−∞"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    """A number takes three digits or so, and one that is not finite a sign of its own."""
    assert short(value) == text


@pytest.mark.parametrize(("share", "text"), [(0.394, "39 %"), (0.013, "1.3 %"), (0.0, "0 %"), (0.0004, "<0.1 %")])
def test_a_small_share_is_never_shown_as_nothing(share: float, text: str) -> None:
    """ "0 %" means none at all: the difference is what a mode table is read for."""
    assert percent(share) == text


def test_json_without_a_number_is_not_a_number() -> None:
    """`null`, text and booleans of a hand-edited file are "not measured", not an error."""
    assert all(math.isnan(number(value)) for value in (None, "x", True, [1]))
    assert whole(None) is None
    assert whole("inf") is None


def test_values_of_any_shape_are_one_line() -> None:
    """Evidence may be nested and long; what is left out is counted."""
    assert value_text({"mode": 3, "share": 0.125}) == "mode: 3, share: 0.12"
    assert value_text(list(range(40))).endswith("(40 in all)")
    assert value_text(None) == "not measured"
    assert value_text([]) == "none"


def test_a_sentence_ends_with_one_full_stop() -> None:
    """Messages come with and without one."""
    assert sentence("two are missing") == "Two are missing."
    assert sentence("Why?") == "Why?"
    assert sentence("r1: adds a penalty") == "r1: adds a penalty."
    assert sentence("  ") == ""


def test_what_steers_a_terminal_is_shown_instead() -> None:
    """Escape sequences, line ends and direction changes become visible; letters of any script stay."""
    assert visible("a\x1b[2J\r\n\u202eb 字 é") == "a\\x1b[2J\\r\\n\\u202eb 字 é"
