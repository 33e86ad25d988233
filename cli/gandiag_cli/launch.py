"""Starts a command under observation; `gandiag run` and `gandiag demo` share it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gandiag.errors import GandiagError, NothingRecorded, TechniqueRefused, UsageError

#: Python's options that make it ignore PYTHONPATH or sitecustomize, and so gandiag; also joined, as in `-uI`.
_BLINDING = re.compile(r"-[bBdiOPqRsuvx]*[IES][A-Za-z]*")


def launch(command: Sequence[str], *, run_dir: Path | None, options: dict[str, Any]) -> Path:
    """Run a command under observation, to its end.

    Args:
        command: as typed after `--`; a first word that ends in .py is run by this Python.
        run_dir: where to record; by default `runs/<script name>-<date>-<id>`.
        options: what `gandiag.boot.attach` reads.

    Returns:
        The run directory.

    Raises:
        UsageError: nothing to run, or not found.
        RunDirError: the run directory holds something else.
        TechniqueRefused: a technique cannot be applied to this script; nothing has been trained.
        NothingRecorded: the command failed, or ended without a recording; the message says why.
    """
    words = list(command)
    if not words:
        raise UsageError("nothing to run: write the command after `--`, as in `gandiag run -- python train.py`")
    if words[0].endswith(".py"):
        words.insert(0, sys.executable)
    program = shutil.which(words[0])
    if program is None:
        raise UsageError(f"cannot run {words[0]!r}: there is no such program on the PATH")
    from gandiag.rundir import default_path

    _check_techniques(options.get("techniques") or ())
    path = (run_dir or default_path(_script(words))).absolute()
    before = _check_usable(path)
    print(f"gandiag: recording to {_short(path)}", file=sys.stderr)
    with _folder_for_notes() as notes:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [_boot_folder(), os.environ.get("PYTHONPATH")])),
            "GANDIAG_RUN_DIR": str(path),
            "GANDIAG_NOTES": notes,
            "GANDIAG_OPTIONS": json.dumps({**options, "command": words}),
        }
        code = _supervise([program, *words[1:]], environment)
        seen = _read_notes(Path(notes)) if notes else {}
    recorded = len(_attempts(path)) > before
    if not recorded:
        with contextlib.suppress(OSError):  # not empty: it was there before, and is somebody's
            path.rmdir()
    if "refused" in seen:
        raise TechniqueRefused(seen["refused"])
    if not recorded:
        failed = f"the command {_ended(code)} and " if code else "the command ended and "
        raise NothingRecorded(f"{failed}nothing was recorded: {_why(words, seen)}")
    iterations = _iterations(path)
    print(f"gandiag: recorded {iterations:,} iterations in {_short(path)}", file=sys.stderr)
    if code:
        raise NothingRecorded(
            f"the command {_ended(code)} after {iterations:,} iterations; what it did until then is in "
            f"{_short(path)} and can be analyzed: gandiag analyze {_short(path)}"
        )
    return Path(_short(path))


@contextlib.contextmanager
def _folder_for_notes() -> Iterator[str]:
    """A temporary folder, or "" where the disk is full: the notes explain failures, and the training needs none."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="gandiag-")
    except OSError:
        yield ""
        return
    with folder as name:
        yield name


def _ended(code: int) -> str:
    return f"failed with exit code {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"


def _supervise(words: list[str], environment: dict[str, str]) -> int:
    """Run to the end, passing signals on, so that a scheduler's SIGTERM reaches the script's own handlers."""
    child = subprocess.Popen(words, env=environment)

    def forward(number: int, frame: object) -> None:
        child.send_signal(number)

    before = {s: signal.signal(s, forward) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _why(words: list[str], seen: dict[str, Any]) -> str:
    """The most likely reason why there is no recording."""
    python = Path(words[0]).name.startswith("python")
    flags = [
        w for w in itertools.takewhile(lambda w: w.startswith("-"), words[1:]) if python and _BLINDING.fullmatch(w)
    ]
    if flags:
        return (
            f"Python was started with {flags[0]}, which makes it ignore gandiag; leave it out, "
            "or call gandiag.watch(G, D) in the script"
        )
    if not seen:
        return (
            "no Python process below it imported torch and gandiag. Is torch installed in the Python that it runs, and "
            "gandiag beside it? Does the command clear PYTHONPATH?"
        )
    if not seen["optimizers"]:
        return "torch was imported, but no optimizer of torch.optim was made"
    if seen["unclear"]:
        return str(seen["unclear"])
    return (
        "no optimizer step of a generator and a discriminator was seen; does the training loop run, and does each net "
        "have an optimizer of torch.optim?"
    )


def _read_notes(folder: Path) -> dict[str, Any]:
    notes = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    refused = [note for note in notes if "refused" in note]
    # Launchers and data workers import torch too: the process that did most is the one to speak of.
    return refused[0] if refused else max(notes, key=lambda n: (n["iterations"], n["optimizers"]), default={})


def _attempts(path: Path) -> list[Path]:
    return list(path.glob("rank*.a*"))


def _iterations(path: Path) -> int:
    from gandiag.rundir import RunReader

    iteration = RunReader(path).scalars().get("iteration", ())
    return int(max(iteration, default=0))


def _check_techniques(techniques: Sequence[str]) -> None:
    """What can be known before the start is refused before the start."""
    if techniques:
        from gandiag.interventions import refusals
        from gandiag.techniques import parse

        refusals.conflicts([parse(text) for text in techniques])


def _check_usable(path: Path) -> int:
    """Refuse a directory that cannot be written or holds something else; count the attempts in it."""
    from gandiag.rundir import RunReader

    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".gandiag-write-test"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise GandiagError(
            f"cannot write to the run directory {path} ({error.strerror}): give another one with --run-dir"
        ) from None
    if (path / "run.json").exists():
        RunReader(path)  # not ours, too new or damaged: its error says so
    return len(_attempts(path))


def package_folder() -> Path:
    """The folder of the gandiag package, found without importing torch."""
    import gandiag

    return Path(next(iter(gandiag.__path__)))


def _boot_folder() -> str:
    return str(package_folder() / "boot" / "site")


def _script(words: list[str]) -> str:
    scripts = [w for w in words[1:] if w.endswith(".py")]
    if scripts:
        return scripts[0]
    return words[words.index("-m") + 1] if "-m" in words[:-1] else words[0]


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
