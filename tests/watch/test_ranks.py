"""Training on several ranks: each records for itself, and read together they are one training on the joint batch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import ranks
from helpers.ranks import KINDS, RANKS, STEPS

import gandiag
from gandiag.rundir import RunReader

#: What is no mean over rows: of each rank's half of the batch it is another number than of the whole.
OF_A_BATCH = ("/q05", "/q50", "/q95", "features/", "sample/", "time")


@dataclass
class Together:
    """Both ranks' trainings, unwatched and watched, and the same done by one process."""

    lines: list[dict[str, Any]]
    folder: Path
    alone: dict[str, np.ndarray]

    def of(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:
        return [line for line in self.lines if {"kind": kind, **wanted}.items() <= line.items()]

    def run(self, kind: str) -> RunReader:
        return RunReader(self.folder / kind)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Together:
    folder = tmp_path_factory.mktemp("ranks")
    words = [sys.executable, "-W", "error", str(Path(ranks.__file__)), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    g, d = ranks.nets()
    with gandiag.watch(g, d, run_dir=folder / "alone", strict=True):
        ranks.train(g, d, slice(None))
    lines = [line for rank in range(RANKS) for line in json.loads((folder / f"said-by-{rank}.json").read_text())]
    return Together(lines, folder, RunReader(folder / "alone").scalars())


@pytest.mark.parametrize("kind", KINDS)
def test_watching_adds_no_collective_and_changes_no_bit(together: Together, kind: str) -> None:
    """DDP, FSDP2 and a scaler that talks: as many collectives as without gandiag, the same weights on each rank."""
    for rank in range(RANKS):
        (plain,) = together.of(kind, rank=rank, watched=False)
        (watched,) = together.of(kind, rank=rank, watched=True)
        assert watched["collectives"] == plain["collectives"] > STEPS
        assert watched["sha"] == plain["sha"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_rank_has_a_folder_of_its_own(together: Together, kind: str) -> None:
    """`rank0.a0` and `rank1.a0`, every iteration in both, and run.json tells how many there were."""
    run = together.run(kind)
    assert sorted(path.name for path in run.path.glob("rank*")) == ["rank0.a0", "rank1.a0"]
    assert run.ranks == [0, 1]
    assert run.info.ranks == RANKS
    for rank in run.ranks:
        assert run.scalars(rank=rank)["iteration"].tolist() == list(range(1, STEPS + 1))
    assert run.info.d_calls == {"real": {"d": STEPS}, "fake": {"d": STEPS, "g": STEPS}}


@pytest.mark.parametrize("kind", KINDS)
def test_the_ranks_together_equal_one_process_on_the_joint_batch(together: Together, kind: str) -> None:
    """Gradient norms before and after clipping, losses, means, deviations and shares of logits, counts: to 1e-5.

    All rounds are measured on all ranks, also where one process would measure a part of them.

    The ranks' own losses and logits differ from those, and under FSDP their norms too; so merging has something to do.
    """
    merged, alone = together.run(kind).scalars(), together.alone
    assert merged["iteration"].tolist() == alone["iteration"].tolist()
    assert set(merged) - set(alone) == ({"skipped/d", "skipped/g"} if kind == "scaled" else set())
    exact = [name for name in alone if not any(part in name for part in OF_A_BATCH)]
    if kind == "fsdp":
        exact = [name for name in exact if not name.startswith("update/")]
    assert {"grad/d/before_clip", "grad/g/total", "loss/d", "d/logits/real/mean", "d/logits/fake/std"} < set(exact)
    for name in exact:
        np.testing.assert_allclose(merged[name], alone[name], rtol=1e-5, atol=1e-7, err_msg=name)
    rank0 = together.run(kind).scalars(rank=0)
    different = {name for name in exact if not np.allclose(rank0[name], alone[name], rtol=1e-3, equal_nan=True)}
    assert {"loss/d", "loss/g", "d/logits/real/mean"} < different
    assert ("grad/d/total" in different) == (kind == "fsdp")


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_of_a_batch_are_the_mean_of_the_ranks(together: Together, kind: str) -> None:
    """What no per-rank number can give for the joint batch is that of a batch of one rank's size, averaged."""
    run = together.run(kind)
    merged, parts = run.scalars(), [run.scalars(rank=rank) for rank in run.ranks]
    names = [name for name in merged if any(part in name for part in OF_A_BATCH) and name != "time"]
    assert {"features/effective_rank_real", "d/logits/real/q50", "sample/std_ratio"} < set(names)
    for name in names:
        np.testing.assert_allclose(merged[name], np.mean([p[name] for p in parts], axis=0), rtol=1e-5, err_msg=name)


def test_sharded_norms_are_the_shards_and_said_so(together: Together) -> None:
    """Under FSDP a rank's norms are those of its shards, their squares sum to the whole, and the run says both."""
    run = together.run("fsdp")
    parts = [run.scalars(rank=rank) for rank in run.ranks]
    for name in ("grad/d/total", "grad/d/before_clip", "grad/g/0.weight"):
        whole = np.sqrt(sum(np.square(part[name], dtype=np.float64) for part in parts))
        np.testing.assert_allclose(run.scalars()[name], whole, rtol=1e-6)
        assert (parts[0][name] < whole).all()
    assert [role.get("shards") for role in run.info.roles.values()] == [RANKS, RANKS]
    assert [text for text in run.info.blind_spots if "generator and discriminator sharded over ranks" in text]
    assert together.run("ddp").info.blind_spots == []


def test_a_scaler_with_a_scale_of_its_own_is_seen(together: Together) -> None:
    """FSDP's ShardedGradScaler overrides `scale`: its losses are recorded without it, its steps counted."""
    columns = together.run("scaled").scalars()
    assert not columns["skipped/d"].any()
    np.testing.assert_allclose(columns["loss/d"], together.alone["loss/d"], rtol=1e-5)


def test_the_diagnosis_is_of_all_ranks(together: Together) -> None:
    """`analyze` takes the merged table of all kinds without a complaint about ranks."""
    for kind in KINDS:
        diagnosis = gandiag.analyze(together.run(kind).path)
        assert diagnosis.iterations == STEPS
        assert not [text for text in diagnosis.blind_spots if text.startswith("ranks: ")]


def test_a_rank_whose_folder_is_elsewhere_is_missed(together: Together, tmp_path: Path) -> None:
    """Two machines without a common disk: the one folder that is here is read, and the diagnosis says what it lacks."""
    import shutil

    shutil.copytree(together.folder / "ddp", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "rank1.a0")
    run = RunReader(tmp_path / "run")
    np.testing.assert_array_equal(run.scalars()["loss/d"], together.run("ddp").scalars(rank=0)["loss/d"])
    assert run.notes == ["ranks: 1 of 2 left a folder here; all is judged by those"]
    assert any("1 of 2 left a folder" in text for text in gandiag.analyze(tmp_path / "run").blind_spots)
