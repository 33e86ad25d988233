"""`gandiag techniques`: the list, and one card."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner, Result

from gandiag.errors import UnknownName
from gandiag.techniques import TECHNIQUES
from gandiag_cli.app import build


def run(*words: str) -> Result:
    return CliRunner().invoke(build(), ["techniques", *words])


def test_the_list_names_each() -> None:
    """No technique is missing from the list, which fits the terminal."""
    text = run().stdout
    assert [name for name in TECHNIQUES.names() if name not in text] == []
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", TECHNIQUES.names())
def test_each_has_a_card(name: str) -> None:
    """What it treats, where it is from, what it costs, and how it is switched on; no placeholder is left."""
    result = run(name)
    assert result.exit_code == 0, result.output
    card = TECHNIQUES[name].card
    for part in (*card.treats, "source", f"gandiag run --enable {name}"):
        assert part in result.stdout
    for key, value in TECHNIQUES[name]().params().items():  # each with a few words of what it is
        assert f"{{{key}}}" not in result.stdout
        assert re.search(rf"- {key}={re.escape(str(value))}: \S", result.stdout), key


def test_an_unknown_name_suggests_the_nearest() -> None:
    """A misspelt name is answered with the right one."""
    error = run("spectral-norm").exception
    assert isinstance(error, UnknownName)
    assert "Did you mean 'spectral_norm'" in str(error)
