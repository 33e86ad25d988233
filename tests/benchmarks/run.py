"""Prints the tables of docs/benchmarks.md as Markdown, from real runs on this machine.

    python tests/benchmarks/run.py                        everything; hours on two cores
    python tests/benchmarks/run.py diagnosis analysing    some of it

What watching costs is measured by `overhead.py`, bits by `identity.py`, kills by `crash.py`, long runs by `size.py`.
Figures go from here into the page by copy and paste, never by hand.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GANDIAG = [sys.executable, "-m", "gandiag_cli"]
SEEDS = range(5)
Row = tuple[object, ...]


def diagnosis(folder: Path) -> Iterator[Row]:
    """Does each demo get the verdict that it is made for, at each seed?"""
    yield "command", "expected", "right", "codes", "seconds a run"
    for name in ("ring", "grid", "digits"):
        for expected, flags in (("collapsed", []), ("healthy", ["--healthy"])):
            verdicts, codes, seconds = [], set(), []
            for seed in SEEDS:
                run = folder / f"{name}-{expected}-{seed}"
                seconds.append(timed("demo", name, *flags, "--seed", str(seed), "--run-dir", str(run)))
                found = answer("analyze", str(run))
                verdicts.append(found["verdict"])
                codes |= {finding["code"] for finding in found["findings"]}
            right = f"{verdicts.count(expected)} of {len(verdicts)}"
            command = " ".join(["gandiag demo", name, *flags])
            yield f"`{command}`", expected, right, " ".join(sorted(codes)), f"{statistics.median(seconds):.0f}"


def remediation(folder: Path) -> Iterator[Row]:
    """Does remediation of a collapsed run find more modes than the control?"""
    yield "run", "control, modes", "winner, modes", "techniques", "verified", "minutes"
    for name in ("ring", "grid", "digits"):
        run = folder / f"repair-{name}"
        timed("demo", name, "--run-dir", str(run))
        start = time.perf_counter()
        result = answer("remediate", str(run), "--yes")
        minutes = (time.perf_counter() - start) / 60
        winner = result["winner"]
        names = "+".join(technique["name"] for technique in winner["techniques"]) if winner else "none"
        control, best = modes(result["control"]), modes(winner) if winner else "-"
        yield name, control, best, names, result["verified"], f"{minutes:.1f}"


def modes(arm: dict[str, Any]) -> str:
    """How many modes the arm's runs captured, by gandiag's own mode table, over how many there are."""
    tables = [answer("analyze", run)["modes"] for run in arm["run_dirs"]]
    return ", ".join(f"{table['count_captured']}/{table['count_real']}" for table in tables)


def analysing(folder: Path) -> Iterator[Row]:
    """How long the answers take, as a user waits for them: a new process each time, nothing cached."""
    yield "what", "seconds"
    yield "`gandiag --help`", f"{statistics.median(timed('--help') for _ in range(5)):.2f}"
    run = folder / "analysed"
    timed("demo", "digits", "--run-dir", str(run))
    for path in sorted((run / "derived").glob("*")):
        path.unlink()
    yield "`gandiag analyze` of the digits demo", f"{timed('analyze', str(run)):.1f}"


def timed(*words: str) -> float:
    """Seconds that `gandiag WORDS` takes; its failure ends the benchmark."""
    start = time.perf_counter()
    subprocess.run([*GANDIAG, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def answer(*words: str) -> dict[str, Any]:
    """The JSON that `gandiag WORDS --json` prints; exit 1 is an answer too."""
    result = subprocess.run([*GANDIAG, *words, "--json"], stdout=subprocess.PIPE, text=True)
    if result.returncode not in (0, 1):
        raise SystemExit(f"gandiag {' '.join(words)} failed with exit code {result.returncode}")
    return dict(json.loads(result.stdout))


TABLES = {table.__name__: table for table in (diagnosis, remediation, analysing)}


def main(names: list[str]) -> None:
    """Print the tables called `names`, or all."""
    unknown = set(names) - set(TABLES)
    if unknown:
        raise SystemExit(f"no table called {', '.join(sorted(unknown))}; known: {', '.join(TABLES)}")
    with tempfile.TemporaryDirectory() as folder:
        for name in names or TABLES:
            rows = TABLES[name](Path(folder))
            print(f"\n## {name}\n")
            for number, row in enumerate(rows):
                print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
                if number == 0:
                    print("|" + "---|" * len(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
