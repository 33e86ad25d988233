"""Every error that gandiag raises on purpose.

    GandiagError
    ├── UsageError (ValueError)        what was asked cannot be done as asked
    │   ├── ShapeError                 a tensor has the wrong shape, dtype or too few rows
    │   └── UnknownName (LookupError)  no such metric, technique, analyzer, probe or code
    ├── RunDirError                    a run directory is missing, foreign, damaged or too new
    ├── NothingRecorded                the command ended and left nothing to analyze
    ├── RolesUnclear                   which net is the generator and which the discriminator is undecided
    ├── TechniqueRefused               a technique cannot be applied to this script, and why
    └── MissingExtra (ImportError)     an optional dependency is not installed

A message says what was asked, what was found, and what to do. The command line prints it without a
traceback and exits with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GandiagError(Exception):
    """The root: catch this to catch all of gandiag's own errors."""


class UsageError(GandiagError, ValueError):
    """What was asked cannot be done as asked."""


class ShapeError(UsageError):
    """A tensor has the wrong shape, dtype, or too few rows."""


class UnknownName(UsageError, LookupError):
    """A name that no registry holds; the message suggests the nearest one."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> UnknownName:
        """Build the message for `name`, asked of the registry of `kind`s that holds `known`."""
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return cls(f"no {kind} named {name!r}.{hint} Known: {', '.join(known) or 'none'}")


class RunDirError(GandiagError):
    """A run directory is missing, foreign, damaged or written by a newer gandiag."""


class NothingRecorded(GandiagError):
    """A command ended and left nothing to analyze."""


class RolesUnclear(GandiagError):
    """It is undecided which network is the generator and which the discriminator."""


class TechniqueRefused(GandiagError):
    """A technique cannot be applied to this script; the message says why."""


class MissingExtra(GandiagError, ImportError):
    """An optional dependency is not installed; the message holds the line that installs it."""
