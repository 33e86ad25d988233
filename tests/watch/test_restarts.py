"""Trainings that die and are started again: by torchrun, and by hand from a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.scripts import Terminal
from helpers.training import Loop

import gandiag
from gandiag.rundir import RunReader, RunWriter

STEPS, DIES, SAVED = 12, 7, 5

#: Knows nothing of gandiag. Rank 1 of the first attempt dies; every rank goes on from the last checkpoint.
ELASTIC = f"""
import os, sys, torch
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import torch.distributed as dist
from torch.nn.functional import softplus
from torch.nn.parallel import DistributedDataParallel
from helpers.training import discriminator, generator

torch.set_num_threads(1)
attempt, rank = os.environ["TORCHELASTIC_RESTART_COUNT"], int(os.environ["RANK"])
# A store for each attempt: in torchrun's own, gloo now and then finds the addresses of those who died.
dist.init_process_group("gloo", init_method=f"file://{{os.getcwd()}}/store-{{attempt}}", rank=rank, world_size=2)
g, d = DistributedDataParallel(generator()), DistributedDataParallel(discriminator())
og, od = (torch.optim.Adam(net.parameters(), lr=1e-3) for net in (g, d))
start = 0
if os.path.exists("checkpoint.pt"):
    saved = torch.load("checkpoint.pt")
    start = saved["step"]
    for name, thing in dict(g=g, d=d, og=og, od=od).items():
        thing.load_state_dict(saved[name])
for step in range(start + 1, {STEPS} + 1):
    real, z = torch.randn(8, 2), torch.randn(8, 4)
    od.zero_grad()
    (softplus(-d(real)).mean() + softplus(d(g(z).detach())).mean()).backward()
    od.step()
    og.zero_grad()
    softplus(-d(g(z))).mean().backward()
    og.step()
    if step == {SAVED} and rank == 0:
        things = dict(g=g, d=d, og=og, od=od)
        torch.save(dict(step=step, **{{name: thing.state_dict() for name, thing in things.items()}}), "checkpoint.pt")
    if step == {DIES} and attempt == "0" and rank == 1:
        raise RuntimeError("the node is gone")
dist.destroy_process_group()
"""


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(tmp_path, monkeypatch, capfd)


@pytest.mark.slow
def test_a_restart_by_torchrun_is_an_attempt_that_continues_the_axis(terminal: Terminal) -> None:
    """`gandiag run -- torchrun --max-restarts 1`: a second folder for each rank, one axis for all, one run.json.

    The rank that died has left its seven iterations. The others were killed, and have lost what was not flushed. The
    second attempt of both begins at 8, though the checkpoint was of iteration 5: no iteration is written over.
    """
    (terminal.folder / "train.py").write_text(ELASTIC)
    options = ["--standalone", "--nproc-per-node", 2, "--max-restarts", 1, "--monitor-interval", 0.1]
    done = terminal.gandiag("run", "--run-dir", "run", "--", "torchrun", *options, "train.py")
    assert done.code == 0, done.err
    run = RunReader(terminal.folder / "run")
    folders = sorted(path.name for path in run.path.glob("rank*"))
    assert folders == ["rank0.a0", "rank0.a1", "rank1.a0", "rank1.a1"]
    last = DIES + STEPS - SAVED
    assert run.scalars()["iteration"].tolist() == list(range(1, last + 1))
    assert run.scalars(rank=0)["iteration"].tolist()[-(STEPS - SAVED) :] == list(range(DIES + 1, last + 1))
    assert run.scalars(rank=1)["iteration"].tolist() == list(range(1, last + 1))
    again = [(event["rank"], event["attempt"], event["step"]) for event in run.events() if event["kind"] == "attempt"]
    assert again == [(0, 1, DIES), (1, 1, DIES)]
    assert (run.info.status, run.info.ranks, run.info.blind_spots) == ("finished", 2, [])
    assert run.info.roles["generator"]["classes"] == ["Sequential"]


def test_resuming_by_hand_continues_the_axis(tmp_path: Path) -> None:
    """The same directory again, in the same script and from its checkpoint: iterations 9 to 12, and the rows of both.

    The resumed training is the one that was not interrupted: losses and norms are equal to the last bit.
    """
    whole = Loop()
    with gandiag.watch(whole.g, whole.d, run_dir=tmp_path / "whole", strict=True):
        whole.train(12)
    half = Loop()
    with gandiag.watch(half.g, half.d, run_dir=tmp_path / "run", strict=True):
        half.train(8)
    state = [part.state_dict() for part in (half.g, half.d, half.optimizer_g, half.optimizer_d)]
    stream = torch.get_rng_state()
    again = Loop(seed=1)
    for part, saved in zip((again.g, again.d, again.optimizer_g, again.optimizer_d), state, strict=True):
        part.load_state_dict(saved)
    torch.set_rng_state(stream)
    with gandiag.watch(again.g, again.d, run_dir=tmp_path / "run", strict=True):
        again.train(4)
    assert again.fingerprint() == whole.fingerprint()
    run, expected = RunReader(tmp_path / "run"), RunReader(tmp_path / "whole").scalars()
    found = run.scalars()
    assert found["iteration"].tolist() == list(range(1, 13))
    for name in ("loss/d", "loss/g", "grad/d/total", "grad/g/total", "d/logits/real/mean"):
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert [(e["attempt"], e["step"]) for e in run.events() if e["kind"] == "attempt"] == [(1, 8)]
    assert run.snapshot_steps() == [8, 12]


def test_a_rank_that_left_nothing_is_numbered_as_its_peers_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 1 died before its first step, rank 0 after three: both record attempt 1 from 4 on."""
    first = RunWriter(tmp_path, info={"ranks": 2})
    first.append({"iteration": np.array([1, 2, 3])})
    first.close()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in (1, 0):
        monkeypatch.setenv("RANK", str(rank))
        loop = Loop()
        with gandiag.watch(loop.g, loop.d, run_dir=tmp_path, strict=True):
            loop.train(2)
    assert sorted(path.name for path in tmp_path.glob("rank*")) == ["rank0.a0", "rank0.a1", "rank1.a1"]
    for rank in (0, 1):
        assert RunReader(tmp_path).scalars(rank=rank)["iteration"].tolist()[-2:] == [4, 5]
    assert os.environ["RANK"] == "0"
