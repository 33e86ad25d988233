"""Runs at the start of every Python process below `gandiag run`. See `gandiag.boot`."""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

_HERE = str(Path(__file__).resolve().parent)


def _run_the_shadowed_one() -> None:
    """Only one sitecustomize is run, the first on the path; one that the user has must run too."""
    others = [entry for entry in sys.path if str(Path(entry or ".").resolve()) != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


class _AfterTorch(importlib.abc.MetaPathFinder):
    """Finds `torch` as everybody else would, and attaches gandiag when it has been imported."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                try:
                    from gandiag.boot.attach import attach_safely
                except ImportError as error:  # a Python of the script's own; it must run whatever gandiag does
                    print(f"gandiag: not attached, {sys.executable} cannot import it ({error})", file=sys.stderr)
                else:
                    attach_safely()

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if os.environ.get("GANDIAG_OPTIONS"):
    sys.meta_path.insert(0, _AfterTorch())
_run_the_shadowed_one()
