"""Where gandiag sees nothing, the run says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.training import Loop
from torch import nn

import gandiag
from gandiag.probes._blind_spots import unattended
from gandiag.rundir import RunReader

SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import torch, gandiag
from helpers.training import Loop
torch.set_num_threads(1)
loop = Loop()
with gandiag.watch(loop.g, loop.d, run_dir="own", strict=True):
    loop.train(3)
"""

TRACING = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own


def spots(path: Path) -> list[str]:
    return RunReader(path).info.blind_spots


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A CUDA graph without CUDA: torch's own Python calls, whose C part does nothing."""
    monkeypatch.setattr(torch.cuda.CUDAGraph, "capture_begin", lambda graph: None)
    monkeypatch.setattr(torch.cuda.CUDAGraph, "capture_end", lambda graph: None)
    return object.__new__(torch.cuda.CUDAGraph)


def test_steps_inside_a_cuda_graph_are_not_seen_and_that_is_said(tmp_path: Path, graphs: Any) -> None:
    """What is captured is left alone, the iterations before and after it are recorded, and the run names the gap."""
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path, strict=True):
        loop.train(3)
        graphs.capture_begin()
        loop.train(2)
        graphs.capture_end()
        loop.train(3)
    run = RunReader(tmp_path)
    assert run.scalars()["iteration"].tolist() == [1, 2, 3, 4, 5, 6]
    assert [text for text in run.info.blind_spots if "CUDA graph was captured" in text]
    assert not torch.isnan(torch.from_numpy(run.scalars()["grad/d/total"])).any()


def test_a_capture_that_fails_leaves_no_blindness(tmp_path: Path, graphs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error at the end of a capture reaches the script, and the steps after it are seen."""

    def fail(graph: Any) -> None:
        raise RuntimeError("operation not permitted")

    monkeypatch.setattr(torch.cuda.CUDAGraph, "capture_end", fail)
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path, strict=True):
        graphs.capture_begin()
        with pytest.raises(RuntimeError, match="not permitted"):
            graphs.capture_end()
        loop.train(3)
    assert RunReader(tmp_path).scalars()["iteration"].tolist() == [1, 2, 3]


def test_the_taps_at_cuda_graphs_are_taken_out(tmp_path: Path, graphs: Any) -> None:
    """After `close` torch's methods are those from before."""
    before = dict(vars(torch.cuda.CUDAGraph))
    gandiag.watch(Loop().g, Loop().d, run_dir=tmp_path).close()
    assert dict(vars(torch.cuda.CUDAGraph)) == before


@TRACING
@pytest.mark.parametrize("late", [False, True], ids=["before watch", "after watch"])
def test_a_net_compiled_in_place_is_said(tmp_path: Path, late: bool) -> None:
    """A module's hooks and its class's forward are not reached once it is compiled: calls may be missing."""
    loop = Loop()
    if not late:
        loop.d.compile(backend="eager")
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path, strict=True):
        loop.train(2)
        if late:
            loop.d.compile(backend="eager")
        loop.train(2)
    assert [text for text in spots(tmp_path) if "a net is compiled" in text]
    assert RunReader(tmp_path).scalars()["iteration"].tolist() == [1, 2, 3, 4]


@TRACING
def test_a_hook_that_the_script_adds_after_compiling_hides_nothing(tmp_path: Path) -> None:
    """gandiag's own taps are no module hooks: with one added late, all steps, losses and norms are still there."""
    loop = Loop()
    loop.d = torch.compile(loop.d, backend="eager")  # type: ignore[assignment]
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path, strict=True):
        loop.train(2)
        assert isinstance(loop.d, nn.Module)
        loop.d.register_forward_hook(lambda module, args, output: None)
        loop.train(2)
    columns = RunReader(tmp_path).scalars()
    for name in ("loss/d", "loss/g", "grad/d/total", "grad/g/total"):
        assert not torch.isnan(torch.from_numpy(columns[name])).any(), name
    assert [text for text in spots(tmp_path) if "a net is compiled" in text]


def test_options_of_python_that_keep_gandiag_run_out_are_said(tmp_path: Path) -> None:
    """`gandiag run -- python -I train.py`: the command explains it, and the script's own recording says so too."""
    (tmp_path / "train.py").write_text(SCRIPT.format(tests=str(Path(__file__).parents[1])))
    words = [sys.executable, "-c", "from gandiag_cli.app import main; main()", "run", "--run-dir", "asked", "--"]
    done = subprocess.run(
        [*words, sys.executable, "-I", "train.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2, done.stderr
    assert "Python was started with -I, which makes it ignore gandiag" in done.stderr
    assert not (tmp_path / "asked").exists()
    assert [text for text in spots(tmp_path / "own") if "Python was started with -I" in text]


def test_nothing_is_said_where_nothing_is_hidden(tmp_path: Path) -> None:
    """A plain loop has no blind spot, and this process was started plainly."""
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path, strict=True):
        loop.train(3)
    assert spots(tmp_path) == []
    assert not unattended()
    assert "GANDIAG_OPTIONS" not in os.environ
