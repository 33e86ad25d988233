"""Runs an idiom, plain or watched, and keeps what the tests of this folder ask about it."""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from helpers.objects import few_objects
from loops._training import STEPS, fingerprint, name, train
from loops.idioms import Idiom, Truth
from torch import nn

from gandiag.rundir import RunReader
from gandiag.watch import Run

Nets = list[tuple[str, int]]


@dataclass(frozen=True)
class Watched:
    """What a watched run of an idiom left, beside what the idiom says itself."""

    fingerprint: str
    scalars: dict[str, np.ndarray]
    counted: dict[tuple[str, str], int]  # D's calls as the observer labelled them, without "eval"
    truth: Truth
    iterations: int
    confidence: float
    nets: dict[str, Nets]  # by role, (class, parameters) of each net
    declared: dict[str, Nets]

    def wrong(self) -> dict[tuple[str, str], int]:
        """Labels given more often than is true."""
        return {
            key: count - self.truth[key]
            for key, count in self.counted.items()
            if key[0] != "unknown" and count > self.truth[key]
        }

    def unknown(self) -> int:
        """Calls left without a label."""
        return sum(count for key, count in self.counted.items() if key[0] == "unknown")

    def right(self) -> int:
        """Calls with the label that is true."""
        return sum(min(self.counted.get(key, 0), count) for key, count in self.truth.items())


@functools.cache
def watched(idiom: Idiom) -> Watched:
    """Train with all probes recording, snapshots included, and without any hint; once for all tests of an idiom."""
    truth = Truth(STEPS)
    with few_objects(), tempfile.TemporaryDirectory() as folder:
        run = Run(run_dir=Path(folder) / "run", strict=True, options={"snapshot_rows": 32}, say=lambda text: None)
        try:
            things = train(idiom, truth)
        finally:
            run.close()
        after = fingerprint(things)
        scalars = dict(RunReader(run.path).scalars())
    observer, tally = run.observer, run.observer.tally.to_json()
    return Watched(
        fingerprint=after,
        scalars=scalars,
        counted={(kind, p): n for kind, phases in tally.items() for p, n in phases.items() if kind != "eval"},
        truth=truth,
        iterations=observer.iteration,
        confidence=observer.roles.confidence(),
        nets={role: _described(observer.nets(role)) for role in ("g", "d")},
        declared={role: _described(_declared(things, role)) for role in ("g", "d")},
    )


def table(idioms: Iterable[Idiom]) -> str:
    """One line for each idiom that has wrong, missing or unknown labels."""
    lines = []
    for idiom in idioms:
        seen = watched(idiom)
        if seen.counted != dict(seen.truth):
            calls = f"counted {_said(seen.counted)}; truth {_said(seen.truth)}"
            lines.append(f"{name(idiom):40} unknown {seen.unknown():4}  {calls}")
    return "\n".join(lines)


def _said(calls: dict[tuple[str, str], int] | Counter[tuple[str, str]]) -> str:
    return " ".join(f"{kind}/{phase}:{count}" for (kind, phase), count in sorted(calls.items()))


def _declared(things: dict[str, Any], role: str) -> list[nn.Module]:
    return [thing for key, thing in things.items() if key == role or key.startswith(f"{role}_")]


def _described(nets: Iterable[nn.Module]) -> Nets:
    return sorted((type(net).__name__, sum(p.numel() for p in net.parameters())) for net in nets)
