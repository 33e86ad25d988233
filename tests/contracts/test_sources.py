"""House rules that a reader of the source would otherwise have to check by eye."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "gandiag").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))

#: Modules that run or unpickle what they read, and the calls that do.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = {"eval", "exec", "compile", "__import__"}
METHODS = {"torch.load", "torch.save", "os.system", "yaml.load"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_nothing_unpickles_or_evaluates(path: Path) -> None:
    """A run directory is data from a stranger: no pickle, no eval, no torch.load anywhere in the package."""
    assert list(dangers(ast.parse(path.read_text()))) == []


def dangers(tree: ast.AST) -> Iterator[str]:
    """Each import or call in `tree` that could execute what it is given, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (f"{node.lineno}: import {n.name}" for n in names if root(n.name) in MODULES)
            case ast.ImportFrom(module=str(module)) if root(module) in MODULES:
                yield f"{node.lineno}: from {module}"
            case ast.Call(func=ast.Name(id=called)) if called in CALLS:
                yield f"{node.lineno}: {called}()"
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=attr)) if f"{owner}.{attr}" in METHODS:
                yield f"{node.lineno}: {owner}.{attr}()"
            case ast.Call(keywords=keywords) if any(k.arg == "allow_pickle" and not false(k.value) for k in keywords):
                yield f"{node.lineno}: allow_pickle"
            case ast.Call(keywords=keywords) if any(k.arg == "shell" and not false(k.value) for k in keywords):
                yield f"{node.lineno}: shell=True"


def root(module: str) -> str:
    return module.split(".")[0]


def false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from joblib import load", "eval('1')", "torch.load(f)", "np.load(f, allow_pickle=True)"],
)
def test_the_scan_sees_what_it_looks_for(line: str) -> None:
    """The scan above is not blind: each kind of danger is found in a line that has it."""
    assert list(dangers(ast.parse(line)))


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=name)
def test_files_stay_small_enough_to_read(path: Path) -> None:
    """No file has more than 400 lines: one that grows past it is two things."""
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_every_module_says_what_it_is(path: Path) -> None:
    """Each module opens with a docstring, and no placeholder is left in it."""
    doc = ast.get_docstring(ast.parse(path.read_text()))
    assert doc
    assert "To be described" not in doc


@pytest.mark.parametrize("path", [p for p in TESTS if p.name.startswith("test_")], ids=name)
def test_every_test_states_its_claim(path: Path) -> None:
    """A test's docstring is the claim that it checks: without one, a failure tells nobody what broke."""
    functions = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
    silent = [f.name for f in functions if f.name.startswith("test_") and not ast.get_docstring(f)]
    assert silent == []
