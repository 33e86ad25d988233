"""The examples in docstrings print what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Importing these starts something: demo scripts train, the boot folder hooks into the interpreter.
NOT_IMPORTED = ("demo", "boot")

MODULES = [
    path.relative_to(ROOT)
    for path in sorted((ROOT / "gandiag").rglob("*.py"))
    if path.relative_to(ROOT).parts[1] not in NOT_IMPORTED and ">>>" in path.read_text()
]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_examples_in_docstrings(path: Path) -> None:
    """Each `>>>` line of a module gives the result that stands below it."""
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    assert not doctest.testmod(importlib.import_module(name)).failed
