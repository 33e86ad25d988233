"""`gandiag explain`: every code has an explanation."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner, Result

from gandiag.analyzers import ANALYZERS
from gandiag.errors import UnknownName
from gandiag_cli.app import build
from gandiag_cli.commands import explain


def run(*words: str) -> Result:
    return CliRunner().invoke(build(), ["explain", *words])


@pytest.mark.parametrize("code", ANALYZERS.names())
@pytest.mark.parametrize("installed", [False, True], ids=["checkout", "wheel"])
def test_every_code_is_explained(code: str, installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its page in a checkout, with its docstrings where only the package is installed."""
    if installed:
        monkeypatch.setattr(explain, "_page", lambda rule: None)
    result = run(code)
    assert result.exit_code == 0, result.output
    assert code in result.stdout
    assert ANALYZERS[code].name in result.stdout
    assert len(result.stdout.split()) > 15


def test_names_and_lower_case_do_too() -> None:
    """People remember the name, or type the code in lower case."""
    assert run("modes-missing").stdout == run("gd101").stdout == run("GD101").stdout


def test_it_names_what_treats_the_finding() -> None:
    """The strongest technique stands first."""
    treated = run("GD101").stdout.split("Treated by")[1]
    assert treated.index("rpgan_r1_r2") < treated.index("r1 ")


@pytest.mark.parametrize(("typed", "meant"), [("GD102x", "GD10"), ("mode-missing", "modes-missing")])
def test_an_unknown_code_suggests_the_nearest(typed: str, meant: str) -> None:
    """Codes are compared with codes and names with names."""
    error = run(typed).exception
    assert isinstance(error, UnknownName)
    assert f"Did you mean '{meant}" in str(error)
