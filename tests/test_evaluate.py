"""From snapshots to series: what is measured, what is left out, what is kept."""

from pathlib import Path

import numpy as np
import pytest
from helpers.mixtures import MODES, STEPS, garbage, learning, losing_three, mixture, recorded
from helpers.runs import write_run

from gandiag import evaluate as module
from gandiag.evaluate import evaluate
from gandiag.rundir import RunReader


def test_every_snapshot_is_held_against_one_reference(tmp_path: Path) -> None:
    """S measures of each metric with the same null, and S rows of shares that follow the truth."""
    evaluation = evaluate(RunReader(recorded(tmp_path / "run", losing_three)))
    assert evaluation.steps == STEPS
    assert {"precision", "recall", "density", "coverage"} <= set(evaluation.series)
    for measures in evaluation.series.values():
        assert len(measures) == len(STEPS)
        assert len({measure.null for measure in measures}) == 1
    assert evaluation.shares.shape == evaluation.spread.shape == (len(STEPS), MODES)
    assert evaluation.real_shares == pytest.approx(np.full(MODES, 1 / MODES), abs=0.03)
    assert evaluation.captured[-1] == 5
    assert evaluation.captured[STEPS.index(450)] == 8
    assert (evaluation.shares[-1] < 0.01).sum() == 3
    assert evaluation.modes is not None
    assert evaluation.modes.source == "clusters"
    assert evaluation.closeness[-1] == pytest.approx(1.0, abs=0.2)
    assert evaluation.mode_closeness < 0.2


def test_labels_are_the_modes_where_there_are_any(tmp_path: Path) -> None:
    """With labels no clustering is asked for."""
    evaluation = evaluate(RunReader(recorded(tmp_path / "run", learning, labels=True)))
    assert evaluation.modes is not None
    assert evaluation.modes.source == "labels"
    assert [mode.id for mode in evaluation.modes.modes] == list(range(MODES))


def test_reals_seen_twice_count_once(tmp_path: Path) -> None:
    """A data set of 400 rows shown again in every snapshot is halved into 200 and 200: held-out means not shared."""
    rng = np.random.default_rng(0)
    real = mixture(400, rng)
    shown = [{"step": step, "real": rng.permutation(real), "fake": mixture(400, rng)} for step in (10, 20, 30)]
    evaluation = evaluate(RunReader(write_run(tmp_path / "run", scalars={}, snapshots=shown)))
    assert (evaluation.n_real, evaluation.n_fake) == (200, 400)
    assert evaluation.series["coverage"][-1].n_fake == 200


def test_what_makes_numbers_mean_little_is_noted(tmp_path: Path) -> None:
    """Long tails decide the last snapshot's kernel distance, and the notes say so; of sound data there are none."""
    rng = np.random.default_rng(0)
    assert evaluate(RunReader(recorded(tmp_path / "sound", learning))).notes == ()
    shown = [
        {"step": step, **{side: rng.standard_t(2, size=(200, 4)).astype(np.float32) for side in ("real", "fake")}}
        for step in (10, 20)
    ]
    notes = evaluate(RunReader(write_run(tmp_path / "run", scalars={}, snapshots=shown))).notes
    assert [note for note in notes if "long tails" in note] == list(notes)
    assert len(notes) == 1


def test_fakes_that_are_not_finite_are_left_out_and_counted(tmp_path: Path) -> None:
    """A snapshot of NaN is not measured; one with some NaN is, without those rows."""
    rng = np.random.default_rng(0)
    half = mixture(400, rng)
    half[:100] = np.nan
    fakes = {10: mixture(400, rng), 20: half, 30: np.full((400, 2), np.nan, dtype=np.float32)}
    shown = [{"step": step, "real": mixture(400, rng), "fake": fake} for step, fake in fakes.items()]
    evaluation = evaluate(RunReader(write_run(tmp_path / "run", scalars={}, snapshots=shown)))
    assert evaluation.steps == (10, 20)
    assert evaluation.broken == {20: 0.25, 30: 1.0}
    assert evaluation.n_fake == 300


def test_a_run_without_snapshots_or_with_few_rows_says_so(tmp_path: Path) -> None:
    """Nothing is measured, and a note says why."""
    assert "no snapshot" in evaluate(RunReader(write_run(tmp_path / "none", scalars={"loss/d": [1.0]}))).notes[-1]
    few = [{"step": 1, "real": mixture(90, np.random.default_rng(0)), "fake": mixture(90, np.random.default_rng(1))}]
    evaluation = evaluate(RunReader(write_run(tmp_path / "few", scalars={}, snapshots=few)))
    assert evaluation.steps == ()
    assert "90 different real samples" in evaluation.notes[-1]


def test_the_cache_gives_the_same_evaluation_and_notices_a_new_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read back equals what was measured; nothing is measured twice; a new snapshot is."""
    run = recorded(tmp_path / "run", garbage, steps=(100, 200))
    first = evaluate(RunReader(run))
    with monkeypatch.context() as patched:
        patched.setattr(module, "RealReference", None)
        second = evaluate(RunReader(run))
    assert repr(second) == repr(first)  # NaN equals NaN in print only
    np.testing.assert_array_equal(second.shares, first.shares)
    rng = np.random.default_rng(0)
    write_run(run, scalars={}, snapshots=[{"step": 300, "real": mixture(300, rng), "fake": mixture(300, rng)}])
    assert evaluate(RunReader(run)).steps == (100, 200, 300)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"key": 1}', b"\xff\xfe", b'{"key": "KEY", "evaluation": {"steps": 3}}']
)
def test_a_foreign_cache_is_ignored(tmp_path: Path, data: bytes) -> None:
    """Whatever lies in derived/evaluation.json, it is not taken for an evaluation, and is replaced."""
    reader = RunReader(write_run(tmp_path / "run", scalars={}))
    key = module.cache.fingerprint(reader)
    reader.write_derived("evaluation.json", data.replace(b"KEY", key.encode()))
    assert module.cache.load(reader, key) is None
    evaluate(reader)
    assert module.cache.load(reader, key) is not None
