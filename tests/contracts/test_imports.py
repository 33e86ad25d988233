"""What importing gandiag costs and what it may bring in."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import gandiag

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "gandiag").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])

#: Slow to import, so nothing may pull them in before they are needed.
HEAVY = {"torch", "scipy", "sklearn", "matplotlib", "pyarrow", "pandas", "safetensors"}


def run_python(code: str) -> str:
    """What `code` prints in a fresh interpreter, where no test has imported anything yet."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


@pytest.mark.parametrize("name", sorted(gandiag.__all__))
def test_every_public_name_resolves(name: str) -> None:
    """`gandiag.NAME` exists for each name in `__all__`, and has a docstring."""
    thing = getattr(gandiag, name)
    assert name == "__version__" or thing.__doc__


def test_verbs_stay_functions_after_their_modules_are_imported() -> None:
    """`import gandiag.analyze` must not turn `gandiag.analyze(run_dir)` into a call of a module."""
    code = (
        "import gandiag, gandiag.analyze, gandiag.watch\n"
        "from gandiag.analyze import analyze\n"
        "print(gandiag.analyze is analyze, callable(gandiag.watch))"
    )
    assert run_python(code) == "True True"


@pytest.mark.parametrize(
    "code",
    [
        "import gandiag",
        "import gandiag; dir(gandiag)",
        "import sys; sys.argv = ['gandiag', '--help']\nfrom gandiag_cli.app import main\n"
        "try: main()\nexcept SystemExit as e: assert not e.code",
    ],
    ids=["import", "dir", "help"],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    """`import gandiag` and `gandiag --help` stay fast: neither loads torch or anything of its weight."""
    loaded = run_python(f"{code}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})")
    assert not HEAVY & set(loaded.splitlines()[-1].split())


def test_what_is_imported_is_declared() -> None:
    """Each third-party import of the library and its command line is a dependency in pyproject.toml.

    The development environment holds more than a user's, so an undeclared import would only fail there.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = {extra: names for extra, names in project["optional-dependencies"].items() if extra != "dev"}
    declared = {
        re.split(r"[\[<>=!~ ]", requirement)[0].lower().replace("_", "-")
        for requirement in [*project["dependencies"], *(name for names in optional.values() for name in names)]
    }
    homes = packages_distributions()
    undeclared = {}
    for path in SOURCES:
        # A demo script also runs as a plain file, and then its helpers are the files beside it.
        beside = {neighbour.stem for neighbour in path.parent.glob("*.py")} if path.parent.name == "demo" else set()
        for module in imported(path) - set(sys.stdlib_module_names) - {"gandiag", "gandiag_cli"} - beside:
            names = {name.lower().replace("_", "-") for name in homes.get(module, [module])}
            if not names & declared:
                undeclared[module] = str(path.relative_to(ROOT))
    assert not undeclared


def imported(path: Path) -> set[str]:
    """The top-level names that a file imports at runtime, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names
