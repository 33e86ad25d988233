"""Prints what a long run takes: a million iterations of 60 columns, and 200 snapshots of 1,000 x 512 a side.

    python tests/benchmarks/size.py                                     about five minutes, 700 MB of temporary disk
    python tests/benchmarks/size.py --rows 20000 --snapshots 10         the same, small

Each row says what the project promises. What is compared with is a program that reads the same files once with
pyarrow and safetensors and makes one pass of precision, recall, density and coverage over each snapshot.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

GANDIAG = [sys.executable, "-m", "gandiag_cli"]
COLUMNS, DIMENSIONS, ROWS_OF_SNAPSHOT, FLUSH, MODES = 60, 512, 1000, 100, 10
Row = tuple[object, ...]


def names() -> list[str]:
    """The columns of a DCGAN's recording, as many as are asked for."""
    logits = [
        f"{player}/logits/{side}/{what}"
        for player, side in (("d", "real"), ("d", "fake"), ("g", "fake"))
        for what in ("mean", "std", "q05", "q50", "q95", "positive")
    ]
    features = ["dead_share", "effective_rank_real", "effective_rank_fake", "similarity_real", "similarity_fake"]
    others = ["loss/d", "loss/g", "d_steps", "g_steps", "d/accuracy", "update/d", "update/g", "sample/std_ratio"]
    known = [*logits, *(f"features/{name}" for name in features), *others]
    known += ["time", "numerics/nonfinite", "grad/d/total", "grad/g/total"]
    layers = [f"grad/{net}/{layer}.{kind}" for layer in range(0, 40, 2) for net in "dg" for kind in ("weight", "bias")]
    return [*known, *layers][:COLUMNS]


def record(path: Path, rows: int, snapshots: int, flush: int) -> None:
    """Write the run as a recording does, and print how much memory this process took on the way."""
    from gandiag.rundir import RunWriter

    rng = np.random.default_rng(0)
    writer = RunWriter(path, info={"command": ["python", "train.py"], "loss_family": "bce"})
    due = set(np.geomspace(25, rows, snapshots).astype(int).tolist())
    due |= set(rng.choice(np.arange(1, rows + 1), snapshots - len(due), replace=False).tolist())
    centres = rng.standard_normal((MODES, DIMENSIONS)).astype(np.float32) * 3
    memory = []
    for first in range(1, rows + 1, flush):
        iteration = np.arange(first, min(first + flush, rows + 1))
        writer.append({"iteration": iteration, **columns(rng, iteration)})
        for step in sorted(due & set(iteration.tolist())):
            writer.snapshot(step, tensors(rng, centres), {"embedder": "random_projection", "output": "logit"})
        if first // flush % max(1, rows // flush // 100) == 0:
            memory.append(resident())
    writer.close()
    early = memory[: len(memory) // 10 + 1]  # what the first snapshots and segments took stays with the process
    print(json.dumps({"early": max(early), "late": max(memory), "end": memory[-1]}))


def columns(rng: np.random.Generator, iteration: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of a quiet training."""
    noise = rng.standard_normal((COLUMNS, len(iteration)), dtype=np.float32)
    table = dict(zip(names(), noise, strict=True))
    for name in table:
        if name.startswith(("grad/", "update/", "loss/")):
            table[name] = np.exp(0.3 * table[name])
    table["time"] = iteration.astype(np.float32) * 0.01
    table["numerics/nonfinite"] = np.zeros(len(iteration), np.float32)
    return table


def tensors(rng: np.random.Generator, centres: np.ndarray) -> dict[str, np.ndarray]:
    """One snapshot of a generator that does its work: both sides from the same modes."""
    found: dict[str, np.ndarray] = {}
    for side in ("real", "fake"):
        mode = rng.integers(0, MODES, ROWS_OF_SNAPSHOT)
        noise = rng.standard_normal((ROWS_OF_SNAPSHOT, DIMENSIONS), dtype=np.float32)
        found[side] = centres[mode] + noise
        logits = rng.standard_normal(ROWS_OF_SNAPSHOT).astype(np.float32)
        target = 1.0 if side == "real" else 0.0
        found[f"logits_{side}"] = logits
        found[f"cotangents_{side}"] = ((1 / (1 + np.exp(-logits)) - target) / ROWS_OF_SNAPSHOT).astype(np.float32)
        found[f"thumbs_{side}"] = rng.integers(0, 255, (64, 32, 32, 3)).astype(np.uint8)
    return found


def read_once(path: Path) -> None:
    """The least that any analysis has to do: read every byte once, and look at each snapshot once."""
    import pyarrow as pa
    import torch
    from safetensors.numpy import load_file

    from gandiag.metrics import prdc

    torch.set_num_threads(1)
    start = time.perf_counter()
    rows = 0
    for segment in sorted(path.glob("rank*/scalars-*.arrows")):
        with pa.ipc.open_stream(segment.read_bytes()) as stream:
            rows += stream.read_all().num_rows
    read = time.perf_counter() - start
    for snapshot in sorted(path.glob("rank*/snapshots/*.safetensors")):
        stored = load_file(snapshot)
        prdc(real=stored["real"].astype(np.float32), fake=stored["fake"].astype(np.float32))
    print(json.dumps({"rows": rows, "scalars": read, "seconds": time.perf_counter() - start}))


def resident() -> int:
    """Bytes of this process that lie in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Ended(NamedTuple):
    """What a process took."""

    seconds: float
    peak: int  # bytes
    out: str


def timed(words: list[str]) -> Ended:
    """Run a command to its end; its failure ends the benchmark."""
    with tempfile.TemporaryFile("w+") as out:
        start = time.perf_counter()
        process = subprocess.Popen(words, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(words)} failed with exit code {process.returncode}")
        out.seek(0)
        return Ended(seconds, usage.ru_maxrss << 10, out.read())


def size(folder: Path, rows: int, snapshots: int, times: int) -> Iterator[Row]:
    """What recording leaves behind and takes, and what analyzing it takes."""
    yield "what", "measured", "bar"
    run = folder / "run"
    me = [sys.executable, str(Path(__file__).resolve())]
    sizes = ["--rows", str(rows), "--snapshots", str(snapshots)]
    memory: dict[str, Any] = json.loads(timed([*me, *sizes, "--record", str(run)]).out)
    scalars = sum(path.stat().st_size for path in run.glob("rank*/scalars-*.arrows"))
    bar = f"{300 * rows / 1e6:.0f} MB"
    yield f"scalars of {rows:,} iterations, {COLUMNS} columns", f"{scalars / 1e6:.0f} MB", bar
    slow = rows // 10
    timed([*me, "--rows", str(slow), "--snapshots", "0", "--flush", "5", "--record", str(folder / "slow")])
    loose = sum(path.stat().st_size for path in folder.glob("slow/rank*/scalars-*.arrows")) * rows / slow
    yield f"the same for a flush each 5 iterations, from {slow:,}", f"{loose / 1e6:.0f} MB", bar
    taken = [path.stat().st_size for path in run.glob("rank*/snapshots/*")]
    yield f"{len(taken)} snapshots of {ROWS_OF_SNAPSHOT} x {DIMENSIONS} a side", f"{sum(taken) / 1e6:.0f} MB", "-"
    grown = (memory["late"] - memory["early"]) / 1e6
    yield "memory of the recording process, after its first tenth", f"{grown:+.1f} MB", "flat"

    reads, analyses, cached = [], [], []
    for _ in range(times):  # in turns, as the machine may be busy with something else for a while
        reads.append(json.loads(timed([*me, "--read", str(run)]).out))
        shutil.rmtree(run / "derived", ignore_errors=True)
        analyses.append(timed([*GANDIAG, "analyze", str(run), "--json"]))
        cached.append(timed([*GANDIAG, "analyze", str(run), "--json"]))
    once = statistics.median(read["seconds"] for read in reads)
    first, second = (statistics.median(ended.seconds for ended in ends) for ends in (analyses, cached))
    assert all(read["rows"] == rows for read in reads)
    yield "reading once, and one fused pass a snapshot", f"{once:.1f} s", "-"
    yield "`gandiag analyze`, all of the process", f"{first:.1f} s, {first / once:.2f}x", "10x"
    yield "`gandiag analyze` again", f"{second:.1f} s, {second / once:.2f}x", "-"
    yield "`gandiag analyze`, peak memory", f"{max(ended.peak for ended in analyses) / 1e6:.0f} MB", "1500 MB"
    answer = json.loads(analyses[-1].out)
    yield "its verdict", f"{answer['verdict']}, {answer['iterations']:,} iterations", "-"


def main() -> None:
    """Print the table; with `--record` or `--read` be one of the processes that it measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--snapshots", type=int, default=200)
    parser.add_argument("--times", type=int, default=3, help="how often each is timed; medians are printed")
    parser.add_argument("--flush", type=int, default=FLUSH, help=argparse.SUPPRESS)
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.record:
        record(options.record, options.rows, options.snapshots, options.flush)
    elif options.read:
        read_once(options.read)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for number, row in enumerate(size(Path(folder), options.rows, options.snapshots, options.times)):
                print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
                if number == 0:
                    print("|" + "---|" * len(row), flush=True)


if __name__ == "__main__":
    main()
