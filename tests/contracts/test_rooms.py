"""One thing, one file, one test, one page: a forgotten one is an error here, and not a silent hole.

The things are found by scanning the folders, as the registries find them, so this test needs no list either.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from gandiag.registry import Registry

ROOT = Path(__file__).parents[2]
ROOMS = ("probes", "metrics", "analyzers", "techniques", "embed", "logs")


class Thing(NamedTuple):
    """One public module of a room: `gandiag/metrics/prdc.py` is the thing `prdc` of the room `metrics`."""

    room: str
    name: str

    def __str__(self) -> str:
        return f"{self.room}/{self.name}"


def things() -> list[Thing]:
    """Every public module of every room; `base` holds what a room's things share."""
    return [
        Thing(room, path.stem)
        for room in ROOMS
        for path in sorted((ROOT / "gandiag" / room).glob("*.py"))
        if not path.stem.startswith("_") and path.stem != "base"
    ]


def plain(names: Iterable[str]) -> set[str]:
    """Names in the spelling of modules: pages are called `GD101-modes-missing`, modules `gd101_modes_missing`."""
    return {name.lower().replace("-", "_") for name in names}


@pytest.mark.parametrize("thing", things(), ids=str)
def test_it_has_a_test(thing: Thing) -> None:
    """`tests/ROOM/test_NAME.py` exists for each thing, and holds at least one test."""
    path = ROOT / "tests" / thing.room / f"test_{thing.name}.py"
    assert path.exists(), f"write {path.relative_to(ROOT)}"
    assert "\ndef test_" in path.read_text()


@pytest.mark.parametrize("thing", things(), ids=str)
def test_it_has_a_page(thing: Thing) -> None:
    """`docs/reference/ROOM/NAME.md` exists for each thing, and says when the thing is wrong."""
    folder = ROOT / "docs" / "reference" / thing.room
    pages = {path for path in folder.glob("*.md") if thing.name in plain([path.stem])}
    assert pages, f"write {folder.relative_to(ROOT)}/{thing.name}.md"
    assert "wrong" in pages.pop().read_text().lower()


@pytest.mark.parametrize("room", ROOMS)
def test_no_page_or_test_describes_what_is_gone(room: str) -> None:
    """A page or test whose thing was renamed or removed is found too."""
    here = {thing.name for thing in things() if thing.room == room}
    pages = plain(path.stem for path in (ROOT / "docs" / "reference" / room).glob("*.md"))
    assert pages <= here


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_of_a_registry_registers_something(room: str) -> None:
    """Where a room keeps a registry, each module of it registers a thing: a file without effect is a mistake."""
    package = importlib.import_module(f"gandiag.{room}")
    for registry in [value for value in vars(package).values() if isinstance(value, Registry)]:
        homes = {registry.home(name).rpartition(".")[2] for name in registry.names()}
        assert homes == {thing.name for thing in things() if thing.room == room}


@pytest.mark.parametrize("thing", things(), ids=str)
def test_it_is_documented_where_it_is_written(thing: Thing) -> None:
    """Each module of a room says in its docstring what it is."""
    assert importlib.import_module(f"gandiag.{thing.room}.{thing.name}").__doc__
