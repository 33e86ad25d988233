"""Snapshots: precision, shapes, thinning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gandiag.errors import RunDirError, ShapeError, UsageError
from gandiag.rundir import RunReader, RunWriter
from gandiag.rundir.snapshots import least_useful


def pair(n: int = 6, m: int = 4, d: int = 2, scale: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"real": scale * rng.standard_normal((n, d)), "fake": scale * rng.standard_normal((m, d))}


def record(path: Path, tensors: dict[str, np.ndarray], **meta: str) -> Path:
    return RunWriter(path, info={}).snapshot(7, tensors, meta)


def test_everything_comes_back(tmp_path: Path) -> None:
    """Each field keeps its values, its shape and the documented dtype; what was not given is None."""
    given_ = {
        **pair(),
        "labels_real": np.arange(6, dtype=np.int32),
        "thumbs_fake": np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 1),
        "logits_fake": np.float32([1, -np.inf, np.nan, 2]),
        "cotangents_real": np.float32([0.5] * 9),
    }
    record(tmp_path / "run", given_, embedder="pixels", output="logit")
    snapshot = RunReader(tmp_path / "run").snapshot(7)
    assert (snapshot.step, snapshot.meta) == (7, {"embedder": "pixels", "output": "logit"})
    for name, values in given_.items():
        found = getattr(snapshot, name)
        kind = {"labels": np.int64, "thumbs": np.uint8}.get(name.split("_")[0], np.float32)
        assert found.dtype == kind
        np.testing.assert_array_equal(found, values.astype(kind))
    assert snapshot.labels_fake is None
    assert snapshot.thumbs_real is None


def test_few_dimensions_stay_exact_and_many_are_halved(tmp_path: Path) -> None:
    """Up to 64 dimensions embeddings are float32; beyond it float16 saves half the disk and costs 2**-11."""
    for d, exact in ((2, True), (64, True), (65, False), (512, False)):
        tensors = pair(d=d)
        path = record(tmp_path / str(d), tensors)
        found = RunReader(tmp_path / str(d)).snapshot(7).real
        assert found.dtype == np.float32
        assert np.array_equal(found, tensors["real"].astype(np.float32)) == exact
        np.testing.assert_allclose(found, tensors["real"], rtol=2**-10, atol=1e-6)
        assert path.stat().st_size < 10 * d * (4 if exact else 2) + 500


def test_large_values_are_not_turned_into_infinity(tmp_path: Path) -> None:
    """Half precision ends at 65504: a diverging generator's embeddings stay float32 rather than become infinite."""
    tensors = pair(d=100, scale=1e6)
    record(tmp_path / "run", tensors)
    np.testing.assert_array_equal(RunReader(tmp_path / "run").snapshot(7).fake, tensors["fake"].astype(np.float32))


def test_non_finite_embeddings_are_kept(tmp_path: Path) -> None:
    """NaN is what a diverged generator makes: it is evidence, not damage."""
    for d in (2, 100):
        tensors = pair(d=d)
        tensors["fake"][0, 0], tensors["fake"][1, 1] = np.nan, np.inf
        record(tmp_path / str(d), tensors)
        found = RunReader(tmp_path / str(d)).snapshot(7).fake
        assert np.isnan(found[0, 0])
        assert np.isinf(found[1, 1])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"fake": None}, "no tensor 'fake'"),
        ({"fake": np.ones((4, 3))}, "'real' has 2 dimensions and 'fake' 3"),
        ({"real": np.ones(6)}, "2 non-empty dimensions"),
        ({"real": np.ones((0, 2))}, "2 non-empty dimensions"),
        ({"labels_real": np.arange(5)}, "'labels_real' has 5 rows and 'real' 6"),
        ({"logits_fake": np.ones(6)}, "'logits_fake' has 6 rows and 'fake' 4"),
        ({"thumbs_real": np.ones((2, 3, 3, 2), np.uint8)}, "must be 1 or 3"),
        ({"labels_real": np.ones(6)}, "keeps int64"),
        ({"weights": np.ones(6)}, "no tensor 'weights'"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, np.ndarray], fault: str) -> None:
    """The writer checks what the reader will check, so that the mistake shows where it is made."""
    with pytest.raises(ShapeError, match=fault):
        record(tmp_path / "run", {**pair(), **change})


def test_steps_count_from_zero(tmp_path: Path) -> None:
    """A negative step has no file name."""
    with pytest.raises(UsageError, match="from 0 up"):
        RunWriter(tmp_path / "run", info={}).snapshot(-1, pair(), {})


def test_a_missing_step_names_those_there_are(tmp_path: Path) -> None:
    """Asking for a step without a snapshot says which have one."""
    record(tmp_path / "run", pair())
    with pytest.raises(RunDirError, match="the latest it has: 7"):
        RunReader(tmp_path / "run").snapshot(8)


def test_snapshots_are_thinned_under_the_cap(tmp_path: Path) -> None:
    """Beyond the cap old ones go; the first and the last stay, and the rest is spread over the log of the step."""
    size = len(record(tmp_path / "one", pair()).read_bytes())
    writer = RunWriter(tmp_path / "run", info={}, snapshot_cap=8 * size + 100)
    for step in range(0, 4000, 10):
        writer.snapshot(step, pair(), {})
    steps = RunReader(tmp_path / "run").snapshot_steps()
    assert (len(steps), steps[0], steps[-1]) == (8, 0, 3990)
    gaps = np.diff(np.log(np.add(steps[1:-1], 1)))  # without the first and the last, which are always kept
    assert gaps.max() < 3 * gaps.min()  # the 400 steps that were recorded have a factor of over 200


def test_a_later_attempt_takes_over_its_steps(tmp_path: Path) -> None:
    """Where two attempts have a snapshot of one step, the later one's is read; both attempts' steps are listed."""
    first = RunWriter(tmp_path / "run", info={})
    for step in (10, 20):
        first.snapshot(step, {"real": np.zeros((2, 2)), "fake": np.zeros((2, 2))}, {})
    second = RunWriter(tmp_path / "run", info={})
    for step in (20, 30):
        second.snapshot(step, {"real": np.ones((2, 2)), "fake": np.ones((2, 2))}, {})
    found = {s.step: float(s.real[0, 0]) for s in RunReader(tmp_path / "run").snapshots()}
    assert found == {10: 0.0, 20: 1.0, 30: 1.0}


def test_the_cap_is_the_runs_and_not_the_attempts(tmp_path: Path) -> None:
    """A run that is resumed again and again does not fill the disk, and no attempt loses its own first and last."""
    size = len(record(tmp_path / "one", pair()).read_bytes())
    for attempt in range(3):
        writer = RunWriter(tmp_path / "run", info={}, snapshot_cap=8 * size + 100)
        for step in range(10):
            writer.snapshot(100 * attempt + step, pair(), {})
    steps = RunReader(tmp_path / "run").snapshot_steps()
    assert len(steps) == 8 + 2 + 2
    assert {100, 109, 200, 209} <= set(steps)


@given(st.lists(st.integers(0, 10**9), min_size=3, max_size=30, unique=True))
def test_the_ends_are_never_given_up(steps: list[int]) -> None:
    """Whatever the steps are, thinning picks an inner one."""
    steps = sorted(steps)
    assert least_useful(steps) in steps[1:-1]
    assert least_useful(steps[:2]) is None
