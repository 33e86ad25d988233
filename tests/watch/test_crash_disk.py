"""Trainings whose disk is full: from the first byte on, or somewhere on the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.forks import python

from gandiag.errors import RunDirError
from gandiag.rundir import RunReader


@pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")
def test_no_file_may_grow_beyond_a_limit(tmp_path: Path) -> None:
    """RLIMIT_FSIZE from before the first byte, at seven sizes from 0 to 60 kB: same bits, one message, readable.

    Whatever is cut first: run.json, a snapshot, the scalars half-way through a batch, or an event.
    """
    sizes = [0, 100, 2000, 5000, 12_000, 30_000, 60_000]
    python(
        tmp_path,
        f"""
expected = plain(250)

def limited(size):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit))
    try:
        return recorded(f"run-{{size}}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

for size in {sizes}:
    wait(child(str(size), limited, size))
    assert Path(f"{{size}}.out").read_text() == expected
""",
    )
    check_what_is_left(tmp_path, sizes)


TMPFS = ("unshare", "--map-root-user", "--mount")  # a mount that nobody else sees, and that ends with the process


@pytest.fixture(scope="module")
def _tmpfs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where a file system cannot be mounted."""
    command = [*TMPFS, "mount", "-t", "tmpfs", "-o", "size=16k", "none", str(tmp_path_factory.mktemp("mounted"))]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        pytest.skip(f"cannot mount a tmpfs here: {error}")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"cannot mount a tmpfs here: {error.stderr.strip()}")


@pytest.mark.usefixtures("_tmpfs")
def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    """A tmpfs of 4 to 512 kB: same bits, one message, readable.

    The smallest are full before the training starts. In some cases the script's stderr is a file on the very disk
    that is full: then the message has nowhere to go, and may not end the training either.
    """
    sizes = [4, 8, 12, 16, 32, 64, 128, 512]
    python(
        tmp_path,
        f"""
import shutil
expected = plain(250)

def filled(size):
    if size in (4, 12, 32):
        os.dup2(os.open(f"disk-{{size}}/said", os.O_WRONLY | os.O_CREAT), 2)
    return recorded(f"disk-{{size}}/run")

for size in {sizes}:
    os.mkdir(f"disk-{{size}}")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={{size}}k", "none", f"disk-{{size}}"], check=True)
    if size <= 8:
        Path(f"disk-{{size}}/full").write_bytes(bytes(1024 * size))
    wait(child(str(size), filled, size))
    assert Path(f"{{size}}.out").read_text() == expected
    shutil.copytree(f"disk-{{size}}/run", f"run-{{size}}")
""",
        *TMPFS,
    )
    check_what_is_left(tmp_path, sizes)


def check_what_is_left(tmp_path: Path, sizes: list[int]) -> None:
    """Readers raise nothing but RunDirError, nothing that was written whole is lost, one message at most was said."""
    rows, refused = [], []
    for size in sizes:
        said = (tmp_path / f"{size}.err").read_text()
        assert said.count("\n") <= 1
        assert said.startswith("gandiag: recording stopped, training goes on: cannot "[: len(said)])
        assert len(list((tmp_path / f"run-{size}").glob("rank*"))) == 1  # it gives up once
        try:
            run = RunReader(tmp_path / f"run-{size}")
        except RunDirError as error:
            refused.append(str(error))
            continue
        rows.append(len(run.scalars()["iteration"]))
        assert [snapshot.step for snapshot in run.snapshots()] == run.snapshot_steps()
        assert run.damaged == []
        run.events()
    assert rows == sorted(rows)
    assert len(refused) >= 1, "no size was too small for run.json"
    assert all("run.json is missing" in text or "empty directory" in text for text in refused)
    assert {0, 250} < set(rows), "no size was too small for the scalars, or none was large enough"
