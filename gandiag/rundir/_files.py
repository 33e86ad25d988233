"""Reading and writing files of a run directory: bounded, atomic, and never through a link."""

from __future__ import annotations

import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from gandiag.errors import RunDirError

_FOLDER = re.compile(r"rank(\d{1,6})\.a(\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Attempt:
    """One start of the run, as one rank saw it; its folder is `rank{rank}.a{number}`."""

    number: int
    rank: int
    folder: Path


def attempts(path: Path) -> list[Attempt]:
    """The attempt folders of the run directory `path`, ordered by attempt, then rank; links are passed over."""
    found = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                match = _FOLDER.fullmatch(entry.name)
                if match and entry.is_dir(follow_symlinks=False):
                    found.append(Attempt(number=int(match[2]), rank=int(match[1]), folder=Path(entry.path)))
    except OSError as error:
        raise RunDirError(f"cannot list {path} ({error.strerror}): check that it exists and is readable") from None
    return sorted(found)


def numbered(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """The regular files of `folder` whose whole name matches `pattern`, by the number in its first group."""
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                match = pattern.fullmatch(entry.name)
                if match and entry.is_file(follow_symlinks=False):
                    found[int(match[1])] = Path(entry.path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RunDirError(f"cannot list {folder} ({error.strerror}): check that it is readable") from None
    return dict(sorted(found.items()))


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    Never follows a link and never blocks (a pipe of that name would hang a plain `open`). The file is read, not
    mapped: a mapped file that shrinks, or an NFS server that goes away, kills the process with SIGBUS.

    Raises:
        OSError: as `open` does; also for what is not a regular file, or too large.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "is not a regular file")
        if status.st_size > limit:
            raise OSError(0, f"is {status.st_size} bytes, more than the {limit} that gandiag reads")
        return file.read(limit)


def write_whole(descriptor: int, data: bytes) -> None:
    """Write all of `data`: one `write` may stop short where a disk or a quota fills up."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_atomically(path: Path, data: bytes, *, only_new: bool = False, durable: bool = False) -> bool:
    """Put `data` at `path`, so that a reader sees the old file or the new one and nothing between.

    Args:
        path: the file; its folder must exist.
        data: its bytes.
        only_new: leave a file that is already there as it is.
        durable: also survive a power cut (costs an fsync; a `kill -9` alone needs none).

    Returns:
        Whether `path` now holds `data`: False only if `only_new` and somebody was first.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(temporary, flags, 0o666)
        try:
            write_whole(descriptor, data)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if only_new:
            return _link(temporary, path)
        temporary.replace(path)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError:
        # No hard links on this file system: the check below is a race of microseconds, and the best there is.
        if target.exists():
            return False
        source.replace(target)
    return True
