"""Starts a command under observation; `gandiag run` and `gandiag demo` share it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gandiag.errors import GandiagError, NothingRecorded, UsageError

#: Python's options that make it ignore PYTHONPATH or sitecustomize, and so gandiag.
_BLINDING = {"-I", "-E", "-S"}


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

    path = (run_dir or default_path(_script(words))).absolute()
    _check_writable(path)
    print(f"gandiag: recording to {_short(path)}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="gandiag-") as notes:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(package_folder() / "boot" / "site"), os.environ.get("PYTHONPATH", "")])),
            "GANDIAG_RUN_DIR": str(path),
            "GANDIAG_NOTES": notes,
            "GANDIAG_OPTIONS": json.dumps({**options, "command": words}),
        }
        code = _supervise([program, *words[1:]], environment)
        seen = _read_notes(Path(notes))
    iterations = _iterations(path)
    if code == 2 and not iterations and not seen.get("iterations") and not seen.get("recorded"):
        # The script was refused before its first step; what was wrong is on the screen already.
        raise NothingRecorded(f"the command ended with exit code 2 before its first iteration; {_why(words, seen)}")
    if iterations is None:
        failed = f"the command failed with exit code {code} and " if code else "the command ended and "
        raise NothingRecorded(f"{failed}nothing was recorded: {_why(words, seen)}")
    print(f"gandiag: recorded {iterations:,} iterations in {_short(path)}", file=sys.stderr)
    if code:
        raise NothingRecorded(
            f"the command failed with exit code {code} after {iterations:,} iterations; what it did until then is in "
            f"{_short(path)} and can be analyzed: gandiag analyze {_short(path)}"
        )
    return path


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
    flags = [w for w in words[1:] if w in _BLINDING] if python else []
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
    # Launchers and data workers import torch too: the process that did most is the one to speak of.
    return max(notes, key=lambda n: (n["iterations"], n["optimizers"]), default={})


def _iterations(path: Path) -> int | None:
    from gandiag.errors import RunDirError
    from gandiag.rundir import RunReader

    try:
        scalars = RunReader(path).scalars()
    except RunDirError:
        return None
    return int(scalars["iteration"].max()) if len(scalars.get("iteration", ())) else 0


def _check_writable(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".gandiag-write-test"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise GandiagError(
            f"cannot write to the run directory {path} ({error.strerror}): give another one with --run-dir"
        ) from None


def package_folder() -> Path:
    """The folder of the gandiag package, found without importing torch."""
    import gandiag

    return Path(next(iter(gandiag.__path__)))


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
