"""Prints how many idioms train the same bits under `gandiag run` as alone, each in Python processes of its own.

    python tests/benchmarks/identity.py                     all of them: about fifteen minutes
    python tests/benchmarks/identity.py penalties replay    those whose name contains one of the words
    python tests/benchmarks/identity.py --option --taint    with an option of `gandiag run`

The test suite does the same with a shorter start of Python, see `tests/loops/test_under_run.py`.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from loops._training import STEPS, name
from loops.idioms import IDIOMS

from gandiag.errors import RunDirError
from gandiag.rundir import RunReader

SCRIPT = Path(__file__).parents[1] / "loops" / "one_idiom.py"


class Pair(NamedTuple):
    """One idiom, alone and watched."""

    idiom: str
    identical: bool
    rows: int  # iterations in the run directory
    failed: list[str]  # where gandiag switched something off


def compare(idiom: str, options: list[str]) -> Pair:
    """Train an idiom in a plain Python and under `gandiag run`.

    Raises:
        subprocess.CalledProcessError: one of the two ended with an error.
    """
    script = [sys.executable, str(SCRIPT), idiom]
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        watch = [sys.executable, "-m", "gandiag_cli", "run", *options, "--run-dir", str(run_dir), "--"]
        alone, watched = (
            json.loads(subprocess.run([*words, *script], capture_output=True, text=True, check=True).stdout)
            for words in ([], watch)
        )
        try:
            run = RunReader(run_dir)
            rows = len(run.scalars()["iteration"])
            failed = [event["text"] for event in run.events() if event["kind"] == "failed"]
        except (RunDirError, KeyError) as error:
            rows, failed = 0, [str(error)]
    return Pair(idiom, alone == watched, rows, failed)


def main() -> None:
    """Compare all, then print the table; exit with 1 where a bit differs or nothing was recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--option", action="append", default=[])
    arguments = parser.parse_args()
    chosen = [n for n in map(name, IDIOMS) if not arguments.names or any(word in n for word in arguments.names)]
    began, pairs = time.monotonic(), []
    for number, idiom in enumerate(chosen, 1):
        pairs.append(compare(idiom, arguments.option))
        print(f"\r{number}/{len(chosen)} {idiom:60}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    identical, recorded = sum(p.identical for p in pairs), sum(p.rows > 0 and not p.failed for p in pairs)
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, CPU, 1 thread")
    print(f"{STEPS} rounds each; {time.monotonic() - began:.0f} s\n")
    print("| idioms | identical in every bit | recorded to the end | iterations recorded |")
    print("|---:|---:|---:|---:|")
    print(f"| {len(pairs)} | {identical} | {recorded} | {sum(p.rows for p in pairs):,} |")
    bad = [pair for pair in pairs if not pair.identical or not pair.rows or pair.failed]
    for pair in bad:
        print(f"\n- {pair.idiom}: {'identical' if pair.identical else 'DIFFERS'}, {pair.rows} rows, {pair.failed}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
