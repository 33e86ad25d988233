"""Several ranks' tables as one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from gandiag.rundir import RunReader, RunWriter
from gandiag.rundir.merge import Merge

NAN, INF = float("nan"), float("inf")


def table(iterations: Iterable[int], **columns: Iterable[float]) -> dict[str, np.ndarray]:
    """A rank's table; `__` in a name stands for a slash."""
    found = {name.replace("__", "/"): np.array([*values], np.float32) for name, values in columns.items()}
    return {"iteration": np.array([*iterations], np.int64), **found}


def merged(*tables: dict[str, np.ndarray], shards: dict[str, int] | None = None) -> dict[str, list[float]]:
    merge = Merge(shards)
    for each in tables:
        merge.add(each)
    return {name: column.tolist() for name, column in merge.result().items()}


def test_means_largest_and_the_first_ranks_time() -> None:
    """Each kind of column by its own rule."""
    found = merged(
        table([1, 2], loss__d=[1, 2], time=[5, 6], d_steps=[2, 2], numerics__nonfinite=[0, 3], skipped__g=[0, 1]),
        table([1, 2], loss__d=[3, 6], time=[7, 9], d_steps=[2, 2], numerics__nonfinite=[1, 0], skipped__g=[0, 1]),
        table([1, 2], loss__d=[5, 7], time=[1, 1], d_steps=[2, 2], numerics__nonfinite=[0, 0], skipped__g=[0, 1]),
    )
    assert found == {
        "iteration": [1, 2],
        "loss/d": [3, 5],
        "time": [5, 6],
        "d_steps": [2, 2],
        "numerics/nonfinite": [1, 3],
        "skipped/g": [0, 1],
    }


def test_what_is_equal_on_all_ranks_stays_so_to_the_last_bit() -> None:
    """Gradient norms after averaging, of seven ranks: no rounding comes in."""
    norms = np.random.default_rng(0).lognormal(0, 5, 1000).astype(np.float32)
    found = merged(*(table(range(1000), grad__d__total=norms) for _ in range(7)))
    assert found["grad/d/total"] == norms.tolist()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_deviation_is_that_of_all_rows(count: int) -> None:
    """Mean and standard deviation of `count` batches of 16 numbers equal those of their 16 * count numbers."""
    rows = np.random.default_rng(count).normal(3, 2, (count, 4, 16)) + np.arange(count)[:, None, None]
    found = merged(
        *(table(range(4), d__logits__real__std=x.std(axis=1), d__logits__real__mean=x.mean(axis=1)) for x in rows)
    )
    joint = rows.transpose(1, 0, 2).reshape(4, -1)
    np.testing.assert_allclose(found["d/logits/real/mean"], joint.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found["d/logits/real/std"], joint.std(axis=1), rtol=1e-6)


def test_a_rank_that_has_not_got_as_far_is_left_out_of_its_missing_rows() -> None:
    """Rows of any rank appear, in order; a mean is over those ranks that measured it."""
    found = merged(table([1, 2, 3], loss__d=[1, 2, NAN]), table([2, 3, 9], loss__d=[4, 8, 6]), table([2], loss__g=[7]))
    np.testing.assert_array_equal(found["iteration"], [1, 2, 3, 9])
    np.testing.assert_array_equal(found["loss/d"], [1, 3, 8, 6])
    np.testing.assert_array_equal(found["loss/g"], [NAN, 7, NAN, NAN])


def test_one_ranks_infinity_is_not_averaged_away() -> None:
    """Infinite on one of three ranks, in whatever order, is infinite; on all of them too."""
    losses = [[INF, 1, 1, INF], [1, INF, 1, INF], [1, 1, -INF, INF]]
    assert merged(*(table(range(4), loss__d=x) for x in losses))["loss/d"] == [INF, INF, -INF, INF]


def test_shards_make_a_whole_norm_and_replicas_do_not_count_twice() -> None:
    """Shards 3 and 4 are a norm of 5; so they are where two more ranks hold copies of them. G is not sharded."""
    three, four = (lambda n=n: table([1], grad__d__total=[n], grad__g__total=[n]) for n in (3, 4))
    assert merged(three(), four(), shards={"d": 2}) == {"iteration": [1], "grad/d/total": [5], "grad/g/total": [3.5]}
    assert merged(three(), four(), three(), four(), shards={"d": 2})["grad/d/total"] == [5]


def test_a_norm_that_lacks_a_shard_is_not_known() -> None:
    """A rank without the row leaves a NaN, not too small a number."""
    found = merged(table([1, 2], grad__d__total=[3, 3]), table([1], grad__d__total=[4]), shards={"d": 2})
    np.testing.assert_array_equal(found["grad/d/total"], [5, NAN])


def test_a_rank_without_a_part_of_a_small_parameter_adds_nothing_to_its_norm() -> None:
    """FSDP may leave a bias to one rank alone: where both have a total, its norm is whole."""
    found = merged(table([1], grad__d__total=[3], grad__d__bias=[2]), table([1], grad__d__total=[4]), shards={"d": 2})
    assert found == {"iteration": [1], "grad/d/total": [5], "grad/d/bias": [2]}


def test_no_rank_is_an_empty_table() -> None:
    """Nothing recorded yet."""
    assert merged() == {"iteration": []}


def test_the_reader_merges_all_ranks_of_all_attempts(tmp_path: Path) -> None:
    """Two ranks, two attempts; asking for a deviation alone gives the pooled one, and one rank can be had by itself."""
    data = {"iteration": np.arange(1, 4), "d/logits/real/mean": np.float32([0, 0, 0]), "loss/d": np.float32([1, 1, 1])}
    for attempt in range(2):
        for rank in range(2):
            writer = RunWriter(tmp_path / "run", info={"ranks": 2}, rank=rank)
            columns = dict(data, **{"d/logits/real/std": np.float32([1, 1, 1])})
            columns["iteration"] = columns["iteration"] + writer.last_iteration
            columns["d/logits/real/mean"] = columns["d/logits/real/mean"] + np.float32(2 * rank)
            columns["loss/d"] = columns["loss/d"] * np.float32(1 + 2 * rank + 10 * attempt)
            writer.append(columns)
            writer.close()
    run = RunReader(tmp_path / "run")
    found = run.scalars()
    assert found["iteration"].tolist() == [1, 2, 3, 4, 5, 6]
    assert found["loss/d"].tolist() == [2, 2, 2, 12, 12, 12]
    assert found["d/logits/real/mean"].tolist() == [1] * 6
    asked = run.scalars(names=["d/logits/real/std", "no such"])
    assert set(asked) == {"iteration", "d/logits/real/std"}
    np.testing.assert_allclose(asked["d/logits/real/std"], np.sqrt(2))
    assert run.scalars(rank=1)["loss/d"].tolist() == [3, 3, 3, 13, 13, 13]
    assert run.scalars(rank=7)["iteration"].tolist() == []


@pytest.mark.parametrize("left", [1, 2, 3])
def test_a_sharded_norm_is_not_known_while_a_folder_is_missing(tmp_path: Path, left: int) -> None:
    """Of four ranks' folders some are on another machine: no norm is made up of those here, and all else is read."""
    info = {"ranks": 4, "roles": {"discriminator": {"shards": 4}}}
    for rank in range(left):
        writer = RunWriter(tmp_path / "run", info=info, rank=rank)
        norms = {"grad/d/total": np.float32([3]), "grad/d/w": np.float32([3]), "grad/g/total": np.float32([2])}
        writer.append({"iteration": np.array([1]), "loss/d": np.float32([1]), **norms})
        writer.close()
    run = RunReader(tmp_path / "run")
    found = run.scalars()
    assert np.isnan([found["grad/d/total"], found["grad/d/w"]]).all()
    assert (found["grad/g/total"].tolist(), found["loss/d"].tolist()) == ([2], [1])
    assert np.isnan(run.scalars(names=["grad/d/w"])["grad/d/w"]).all()
    assert run.scalars(rank=0)["grad/d/total"].tolist() == [3]
    assert run.notes == [f"ranks: {left} of 4 left a folder here; all is judged by those"]


@pytest.mark.parametrize("shards", [True, "2", -1, 0, 10**9, 1.5, None])
def test_a_foreign_count_of_shards_is_passed_over(tmp_path: Path, shards: object) -> None:
    """What run.json says is not trusted: norms are then averaged."""
    for rank in range(2):
        writer = RunWriter(
            tmp_path / "run", info={"ranks": 2, "roles": {"discriminator": {"shards": shards}}}, rank=rank
        )
        writer.append({"iteration": np.array([1]), "grad/d/total": np.float32([3 + rank])})
        writer.close()
    assert RunReader(tmp_path / "run").scalars()["grad/d/total"].tolist() == [3.5]
