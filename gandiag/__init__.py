"""gandiag: mode-collapse diagnostics, and their cure, for GANs in PyTorch.

    import gandiag

    run = gandiag.watch(G, D, run_dir="runs/mine")     # before the loop; the loop itself stays as it is
    ...
    diagnosis = gandiag.analyze("runs/mine")           # after it, or while it runs
    print(diagnosis.verdict, diagnosis.findings)

The names below are loaded when first used, so that `import gandiag` does not import torch.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gandiag.analyze import Diagnosis as Diagnosis
    from gandiag.analyze import analyze as analyze
    from gandiag.remediate import Remediation as Remediation
    from gandiag.remediate import remediate as remediate
    from gandiag.score import Scores as Scores
    from gandiag.score import score as score
    from gandiag.watch import watch as watch

__version__ = "0.1.0"

_HOMES = {
    "watch": "gandiag.watch",
    "analyze": "gandiag.analyze",
    "Diagnosis": "gandiag.analyze",
    "score": "gandiag.score",
    "Scores": "gandiag.score",
    "remediate": "gandiag.remediate",
    "Remediation": "gandiag.remediate",
}

__all__ = ["Diagnosis", "Remediation", "Scores", "__version__", "analyze", "metrics", "remediate", "score", "watch"]


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return importlib.import_module("gandiag.metrics")
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'gandiag' has no attribute {name!r}") from None
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps `gandiag.watch` a function.

    Python binds a submodule to its name on the package when anything imports it: after gandiag's own
    `from gandiag.analyze import ...`, `gandiag.analyze(run_dir)` would call a module. So where a verb has
    the name of its module, the verb is bound in the module's place.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _HOMES.get(name) == value.__name__:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
