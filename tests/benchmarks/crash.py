"""Prints what crashes cost: real trainings under `gandiag run`, killed, torn, out of disk, doubled, with many workers.

    python tests/benchmarks/crash.py                          everything: about twenty minutes
    python tests/benchmarks/crash.py kills --kills 20         some of it

Each table ends the benchmark where something is lost that should not be. The test suite has small versions of all.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from gandiag.errors import RunDirError
from gandiag.rundir import RunReader
from gandiag.rundir.segments import read_segment, segment_files

GANDIAG = [sys.executable, "-m", "gandiag_cli", "run"]
FLUSH_ROWS, FLUSH_SECONDS = 1000, 5.0
PER_RUN, SLOW, EARLY = 20, 16, 10  # attempts of a run; one in so many trains slowly, or is killed while it starts
KILOBYTE = 1024
LIMITS = (0, 300, 1000, 3000, 10_000, 30_000, 100_000)
TMPFS = ["unshare", "--map-root-user", "--mount"]
OWN = re.compile(r"run\.json|rank0\.a0/(scalars-\d+\.arrows|snapshots/step-\d+\.safetensors)")
Row = tuple[object, ...]

#: A training that knows nothing of gandiag. It notes the time of each iteration in a file of its own, and prints a
#: digest of all that it has learnt.
TRAIN = """
import argparse, hashlib, os, resource, struct, time
parser = argparse.ArgumentParser()
parser.add_argument("--iterations", type=int, default=10**9)
parser.add_argument("--pause", type=float, default=0.0)
parser.add_argument("--side", default=os.devnull)
parser.add_argument("--workers", type=int, default=0)
parser.add_argument("--start", default=None)
parser.add_argument("--persistent", action="store_true")
parser.add_argument("--at", type=float, default=0.0)
parser.add_argument("--limit", type=int, default=None)
options = parser.parse_args()
import torch
from torch import nn

class Points(torch.utils.data.Dataset):
    def __len__(self):
        return 4096
    def __getitem__(self, index):
        return torch.randn(2) * 0.1 + index % 4

def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    g = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    d = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    og, od = (torch.optim.Adam(net.parameters(), lr=1e-3) for net in (g, d))
    loss, ones, zeros = nn.BCEWithLogitsLoss(), torch.ones(64, 1), torch.zeros(64, 1)
    many = dict(multiprocessing_context=options.start, persistent_workers=options.persistent) if options.workers else {}
    loader = torch.utils.data.DataLoader(Points(), 64, num_workers=options.workers, drop_last=True, **many)
    side = os.open(options.side, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    if options.limit is not None:  # not before: torch itself needs a temporary folder
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.limit, options.limit))
    while time.monotonic() < options.at:
        pass
    done = 0
    while done < options.iterations:
        for real in loader:
            fake = g(torch.randn(64, 4))
            od.zero_grad()
            (loss(d(real), ones) + loss(d(fake.detach()), zeros)).backward()
            od.step()
            og.zero_grad()
            loss(d(fake), ones).backward()
            og.step()
            os.write(side, struct.pack("<d", time.monotonic()))
            time.sleep(options.pause)
            done += 1
            if done >= options.iterations:
                break
    digest = hashlib.sha256(torch.get_rng_state().numpy().tobytes())
    for thing in (g, d, og, od):
        digest.update(repr(thing.state_dict()).encode())
        for net in (g, d):
            for value in net.state_dict().values():
                digest.update(value.numpy().tobytes())
    print(digest.hexdigest(), flush=True)

if __name__ == "__main__":
    main()
"""


class Done(NamedTuple):
    """A training that ended by itself."""

    code: int
    digest: str
    said: list[str]


class Trainings:
    """Starts the script, watched or not, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "train.py"
        self.script.write_text(TRAIN)

    def start(self, run: Path | None, *words: object, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        watched = [*GANDIAG, "--run-dir", str(run), "--"] if run is not None else []
        command = [*before, *watched, sys.executable, str(self.script), *map(str, words)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.folder, text=True, start_new_session=True, **pipes)

    def run(self, run: Path | None, *words: object, before: tuple[str, ...] = ()) -> Done:
        return finish(self.start(run, *words, before=before))


def finish(process: subprocess.Popen[str]) -> Done:
    out, error = process.communicate()
    require("Traceback" not in error, error)
    return Done(process.returncode, out.strip(), error.splitlines())


def require(holds: bool, text: object) -> None:
    if not holds:
        raise SystemExit(f"a promise is broken: {text}")


def rows_of(folder: Path) -> int:
    return sum(len(read_segment(path).columns["iteration"]) for path in segment_files(folder))


def read_all(run: Path) -> RunReader | None:
    """Use every method of the reader; None if it refuses the directory. Anything but RunDirError ends the benchmark."""
    try:
        reader = RunReader(run)
        reader.scalars()
        reader.events()
        list(reader.snapshots())
    except RunDirError:
        return None
    return reader


def kills(folder: Path, count: int) -> Iterator[Row]:
    """SIGKILL at random moments, of which some fall into the start; each run is continued over and over."""
    trainings, moments = Trainings(folder), random.Random(0)
    trained = recorded = most = started = 0
    longest, torn, snapshots = 0.0, set(), 0
    for kill in range(count):
        run, attempt, slow = folder / f"run-{kill // PER_RUN}", kill % PER_RUN, kill % SLOW == 0
        side, taken = folder / f"{kill}.side", len(list(run.glob("rank0.a*")))
        process = trainings.start(run, "--side", side, "--pause", 0.06 if slow else 0.0)
        if kill % EARLY == 1:
            time.sleep(moments.uniform(0, 3))
            os.killpg(process.pid, signal.SIGKILL)  # it may not have come as far as to start the training
        else:
            while not (side.exists() and side.stat().st_size):
                require(process.poll() is None, f"kill {kill}: the training ended before its first iteration")
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 7.5 if slow else 1.5))
            for child in children(process.pid):
                os.kill(child, signal.SIGKILL)
        finish(process)
        times = [time for (time,) in struct.iter_unpack("<d", side.read_bytes())] if side.exists() else []
        folders = sorted(run.glob("rank0.a*"), key=lambda path: int(path.name.split(".a")[1]))
        rows = rows_of(folders[-1]) if len(folders) > taken else 0
        missing = len(times) - rows
        seconds = times[-1] - times[rows - 1 if rows else 0] if missing > 0 else 0.0
        require(missing <= FLUSH_ROWS, f"kill {kill}: {missing} iterations lost")
        require(seconds <= FLUSH_SECONDS + 0.5, f"kill {kill}: {seconds:.1f} seconds lost")
        reader = read_all(run)
        require(reader is not None or not rows, f"kill {kill}: the run cannot be read")
        if reader is not None:
            require(not reader.damaged, reader.damaged)
            torn |= {(run.name, note) for note in reader.notes}
            snapshots += len(reader.snapshot_steps()) if attempt == PER_RUN - 1 else 0
        trained, recorded, started = trained + len(times), recorded + rows, started + bool(times)
        most, longest = max(most, missing), max(longest, seconds)
        print(f"\r{kill + 1} kills, at most {most} iterations lost", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    yield "kills", "of them in training", "iterations done", "lost", "most at once", "torn tails", "damaged snapshots"
    lost = f"{most} iterations, {longest:.1f} s"
    yield count, started, f"{trained:,}", f"{trained - recorded:,}", lost, len(torn), f"0 of {snapshots}"


def children(process: int) -> list[int]:
    """The processes that `process` has started, as Linux lists them."""
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def offsets(folder: Path) -> Iterator[Row]:
    """Each byte of the last kilobyte of each file kind of a real recording: cut there, flipped, or zeros from there."""
    run = folder / "torn"
    done = Trainings(folder).run(run, "--iterations", 400)
    require(done.code == 0, done.said)
    attempt = run / "rank0.a0"
    events = attempt / "events.jsonl"
    events.write_text("".join(f'{{"kind": "mark", "step": {step}, "time": 1.0}}\n' for step in range(60)))
    kinds = {
        "run.json": run / "run.json",
        "scalars": attempt / "scalars-00000.arrows",
        "snapshot": sorted((attempt / "snapshots").iterdir())[-1],
        "events": events,
    }
    damages: dict[str, Callable[[bytes, int], bytes]] = {
        "cut": lambda data, at: data[:at],
        "flipped": lambda data, at: data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :],
        "zeros": lambda data, at: data[:at] + bytes(len(data) - at),
    }
    yield "file", "damage", "offsets", "refused with RunDirError", "other exceptions", "other files unread"
    for kind, path in kinds.items():
        whole = path.read_bytes()
        for name, damage in damages.items():
            refused = unread = 0
            for at in range(max(0, len(whole) - KILOBYTE), len(whole)):
                path.write_bytes(damage(whole, at))
                reader = read_all(run)
                refused += reader is None
                unread += reader is not None and len(reader.damaged) + len(reader.notes) > 1
            path.write_bytes(whole)
            require(not unread, f"{kind} {name}: {unread} times another file could not be read")
            require(kind == "run.json" or not refused, f"{kind} {name}: the run was refused {refused} times")
            yield kind, name, min(KILOBYTE, len(whole)), refused, 0, unread


def disk(folder: Path) -> Iterator[Row]:
    """No room for more: file sizes limited from the start, and small file systems."""
    trainings = Trainings(folder)
    expected = trainings.run(None, "--iterations", 400).digest
    yield "disk", "bytes", "training", "rows of 400", "messages"
    for size in LIMITS:
        run = folder / f"limit-{size}"
        done = trainings.run(run, "--iterations", 400, "--limit", size)
        yield "RLIMIT_FSIZE", f"{size:,}", *judge(done, expected, run)
    for size in (16, 64, 256, 4096):
        home, kept = folder / f"disk-{size}", folder / f"kept-{size}"
        home.mkdir()
        mount = f"mount -t tmpfs -o size={size}k none {home} && "
        mount += f'"$@"; code=$?; cp -r {home}/run {kept}; exit $code'
        done = trainings.run(home / "run", "--iterations", 400, before=(*TMPFS, "sh", "-c", mount, "sh"))
        if any("mount:" in line or "unshare:" in line for line in done.said):
            yield "tmpfs", f"{size << 10:,}", f"skipped: {done.said[0]}", "-", "-"
        else:
            yield "tmpfs", f"{size << 10:,}", *judge(done, expected, kept)


def judge(done: Done, expected: str, run: Path) -> Row:
    """Whether the training was hurt, how much of it is recorded, and what was said of it."""
    require(done.digest == expected, f"another training: {done.said}")
    said = [line for line in done.said if "recording stopped" in line]
    require(len(said) <= 1, said)
    reader = read_all(run)
    rows = len(reader.scalars()["iteration"]) if reader is not None else "no run.json"
    return "bit-identical", rows, len(said)


def sharing(folder: Path) -> Iterator[Row]:
    """Two trainings aimed at one directory, at the same moment."""
    trainings = Trainings(folder)
    expected = trainings.run(None, "--iterations", 400).digest
    identical = readable = 0
    turns = 5
    for turn in range(turns):
        run = folder / f"shared-{turn}"
        moment = time.monotonic() + 8  # both have imported torch by then
        both = [trainings.start(run, "--iterations", 400, "--at", moment) for _ in range(2)]
        done = [finish(process) for process in both]
        rows = [rows_of(attempt) for attempt in run.glob("rank0.a*")]
        require([one.digest for one in done] == [expected] * 2, f"another training: {done}")
        require(rows == [400] * 2, f"not whole: {rows} of 400 rows, {done}")
        identical, readable = identical + 2, readable + 2
        reader = read_all(run)
        require(reader is not None and reader.notes == [] and reader.damaged == [], "a recording cannot be read")
    yield "pairs", "bit-identical trainings", "whole recordings"
    yield turns, f"{identical} of {2 * turns}", f"{readable} of {2 * turns}"


def workers(folder: Path) -> Iterator[Row]:
    """Eight DataLoader workers, two epochs: they write nothing, and the training is the same."""
    trainings = Trainings(folder)
    yield "8 workers", "persistent", "training", "files beside the training's own", "rows of 128"
    for start in ("fork", "spawn"):
        for persistent in (False, True):
            words = ["--iterations", 128, "--workers", 8, "--start", start, *["--persistent"] * persistent]
            expected = trainings.run(None, *words)
            run = folder / f"workers-{start}-{persistent}"
            done = trainings.run(run, *words)
            require(done.digest == expected.digest != "", (done, expected))
            found = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
            strange = {name for name in found if not OWN.fullmatch(name)}
            require(not strange, strange)
            yield start, "yes" if persistent else "no", "bit-identical", len(strange), rows_of(run / "rank0.a0")


TABLES = {table.__name__: table for table in (kills, offsets, disk, sharing, workers)}


def main() -> None:
    """Print the tables that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="TABLE", help=f"one of {', '.join(TABLES)}")
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args()
    if unknown := set(options.names) - set(TABLES):
        parser.error(f"no table called {', '.join(sorted(unknown))}; known: {', '.join(TABLES)}")
    for name in options.names or TABLES:
        folder = Path(tempfile.mkdtemp())
        try:
            print(f"\n## {name}\n")
            for number, row in enumerate(kills(folder, options.kills) if name == "kills" else TABLES[name](folder)):
                print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
                if number == 0:
                    print("|" + "---|" * len(row), flush=True)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
