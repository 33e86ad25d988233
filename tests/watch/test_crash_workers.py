"""Children of a watched training: forks of it, and the workers of its DataLoader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gandiag.rundir import RunReader

HEAD = """
import os, sys, torch, gandiag
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from helpers.training import Loop
loop = Loop()
"""


def python(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run a script that trains; `Loop` and `loop` are there."""
    script = tmp_path / "train.py"
    script.write_text(HEAD.format(tests=str(Path(__file__).parents[1])) + body)
    return subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, timeout=120)


def test_children_record_nothing(tmp_path: Path) -> None:
    """A forked child that trains and exits, and DataLoader workers by fork and by spawn, leave the run alone."""
    done = python(
        tmp_path,
        """
class Data(torch.utils.data.Dataset):
    def __len__(self): return 64
    def __getitem__(self, i): return torch.randn(2)

if __name__ == "__main__":
    run = gandiag.watch(loop.g, loop.d, run_dir='run')
    loop.train(3)
    child = os.fork()
    if child == 0:
        loop.train(20)
        sys.exit(0)  # not os._exit: what is registered for the end of the process runs
    assert os.waitpid(child, 0)[1] == 0
    for how in ("fork", "spawn"):
        loader = torch.utils.data.DataLoader(Data(), batch_size=16, num_workers=1, multiprocessing_context=how)
        for x in loader:
            loop.real = lambda: x
            loop.train(1)
    run.close()
""",
    )
    assert (done.returncode, done.stderr) == (0, "")
    run = RunReader(tmp_path / "run")
    assert run.scalars()["iteration"].tolist() == list(range(1, 12))
    assert [p.name for p in (tmp_path / "run").glob("rank*")] == ["rank0.a0"]
    assert run.info.status == "finished"


def test_eight_workers_change_nothing(tmp_path: Path) -> None:
    """Eight DataLoader workers that draw random numbers, persistent or not: same bits as unwatched, one recorder.

    `tests/benchmarks/crash.py` does it under `gandiag run` and with spawned workers, which takes a minute.
    """
    done = python(
        tmp_path,
        """
class Data(torch.utils.data.Dataset):
    def __len__(self): return 64
    def __getitem__(self, i): return torch.randn(2)

def train(persistent, run_dir=None):
    loop = Loop()
    loader = torch.utils.data.DataLoader(
        Data(), batch_size=16, num_workers=8, multiprocessing_context="fork", persistent_workers=persistent
    )
    run = run_dir and gandiag.watch(loop.g, loop.d, run_dir=run_dir)
    for epoch in range(2):
        for x in loader:
            loop.real = lambda: x
            loop.train(1)
    if run:
        run.close()
    return loop.fingerprint()

print([train(persistent) == train(persistent, f"run-{persistent}") for persistent in (False, True)])
""",
    )
    assert (done.returncode, done.stdout) == (0, "[True, True]\n"), done.stderr
    assert "gandiag:" not in done.stderr
    for name in ("run-False", "run-True"):
        run = RunReader(tmp_path / name)
        assert run.scalars()["iteration"].tolist() == list(range(1, 9))
        files = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
        assert files == {
            "run.json",
            "rank0.a0/scalars-00000.arrows",
            "rank0.a0/snapshots/step-000000008.safetensors",
        }
