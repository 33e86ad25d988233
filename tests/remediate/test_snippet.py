"""The winner as code."""

from __future__ import annotations

import ast
import re

import pytest

from gandiag.remediate.snippet import snippet
from gandiag.techniques import TECHNIQUES


@pytest.mark.parametrize("name", TECHNIQUES.names())
def test_every_technique_gives_lines_that_parse(name: str) -> None:
    """Each snippet is Python, has its parameters filled in, and names its source."""
    text = snippet([name])
    ast.parse(text)
    assert not re.search(r"\{[a-z_0-9]+\}", text)
    for parameter in TECHNIQUES[name]().params():  # else a setting that was asked for would be lost in the lines
        assert "{" + parameter + "}" in TECHNIQUES[name].card.snippet, parameter
    assert text.startswith(f"# {name}")


def test_parameters_are_those_asked_for() -> None:
    """gamma=0.25 stands in the lines, not the default."""
    assert "0.25" in snippet(["rpgan_r1_r2:gamma=0.25"]).split("\n", 2)[2]


def test_no_techniques_no_lines() -> None:
    """Nothing to change is an empty text."""
    assert snippet([]) == ""
