"""Runs with a known fault get the verdict, the codes and the onset that are true of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.mixtures import (
    ROWS,
    curves,
    garbage,
    hopping,
    learning,
    losing_three,
    one_point,
    recorded,
    shrinking,
)
from helpers.runs import write_run

from gandiag.analyze import Diagnosis, analyze, verdict
from gandiag.analyzers import Finding, Skipped
from gandiag.errors import RunDirError


def serious(diagnosis: Diagnosis) -> dict[str, Finding]:
    return {finding.code: finding for finding in diagnosis.findings if finding.severity != "info"}


@pytest.mark.parametrize(("seed", "labels"), [(0, True), (1, False), (2, False)])
def test_a_healthy_run_is_healthy(tmp_path: Path, seed: int, labels: bool) -> None:
    """Blurred at first, complete later, a little too wide: not one warning."""
    diagnosis = analyze(recorded(tmp_path / "run", learning, seed=seed, labels=labels))
    assert serious(diagnosis) == {}
    assert diagnosis.verdict == "healthy"
    assert diagnosis.recommendations == ()
    assert diagnosis.modes is not None
    assert diagnosis.modes.count_captured == 8


def test_missing_modes(tmp_path: Path) -> None:
    """Three modes lost between 450 and 600: collapsed, with the last healthy snapshot and what to turn on."""
    diagnosis = analyze(recorded(tmp_path / "run", losing_three))
    assert diagnosis.verdict == "collapsed"
    finding = serious(diagnosis)["GD101"]
    assert finding.first_step == 600
    assert finding.evidence["last_healthy_snapshot"] == 450
    assert diagnosis.recommendations[0].name == "rpgan_r1_r2"


def test_shrunken_modes(tmp_path: Path) -> None:
    """All modes, each next to a point: GD103, and not GD101."""
    diagnosis = analyze(recorded(tmp_path / "run", shrinking))
    assert set(serious(diagnosis)) == {"GD103"}
    assert diagnosis.verdict == "collapsed"
    assert serious(diagnosis)["GD103"].first_step == 600


def test_point_collapse(tmp_path: Path) -> None:
    """One sample from 300 on."""
    diagnosis = analyze(recorded(tmp_path / "run", one_point))
    assert diagnosis.verdict == "collapsed"
    assert serious(diagnosis)["GD104"].first_step == 300
    assert serious(diagnosis)["GD104"].confidence == "high"


def test_hopping(tmp_path: Path) -> None:
    """Three modes at a time, others at each look."""
    diagnosis = analyze(recorded(tmp_path / "run", hopping))
    assert diagnosis.verdict == "collapsed"
    assert "GD105" in serious(diagnosis)


def test_a_discriminator_that_won(tmp_path: Path) -> None:
    """D is always right, G's gradient is gone, the samples are nowhere near the data."""
    fall = np.exp(-np.arange(1000) / 40) + 1e-6
    won = {**curves(), "d/accuracy": np.ones(1000), "grad/g/total": fall}
    diagnosis = analyze(recorded(tmp_path / "run", garbage, scalars=won))
    assert diagnosis.verdict == "unstable"
    assert set(serious(diagnosis)) == {"GD201"}
    assert any(skipped.code == "GD101" for skipped in diagnosis.skipped)


def test_nan(tmp_path: Path) -> None:
    """Losses and samples are NaN from 700 on; the JSON is strict all the same."""
    broken = curves()
    for name in ("loss/d", "loss/g", "grad/d/total", "grad/g/total"):
        broken[name][700:] = np.nan
    broken["numerics/nonfinite"][700:] = 5

    def diverging(step: int, rng: np.random.Generator) -> np.ndarray:
        return learning(step, rng) if step <= 700 else np.full((ROWS, 2), np.nan)

    diagnosis = analyze(recorded(tmp_path / "run", diverging, scalars=broken))
    assert diagnosis.verdict == "unstable"
    assert serious(diagnosis)["GD303"].first_step == 701
    json.dumps(diagnosis.to_json(), allow_nan=False)


def test_garbage_without_a_cause_is_undetermined(tmp_path: Path) -> None:
    """Samples nowhere near the data, and no sign why: never healthy."""
    assert analyze(recorded(tmp_path / "run", garbage)).verdict == "undetermined"


def test_three_iterations_are_undetermined(tmp_path: Path) -> None:
    """Nothing can be said, and each rule says why."""
    three = {name: values[:3] for name, values in curves().items()}
    diagnosis = analyze(write_run(tmp_path / "run", scalars=three))
    assert diagnosis.verdict == "undetermined"
    assert diagnosis.iterations == 3
    assert {"GD101", "GD104", "GD201", "GD301"} <= {skipped.code for skipped in diagnosis.skipped}
    assert diagnosis.to_json()["modes"] is None


def test_a_negative_loss_is_no_finding(tmp_path: Path) -> None:
    """Critics' losses are negative and drift; the run is healthy all the same."""
    critic = {**curves(), "loss/d": -np.linspace(1, 40, 1000), "loss/g": -np.linspace(1, 90, 1000)}
    assert analyze(recorded(tmp_path / "run", learning, scalars=critic)).verdict == "healthy"


def test_the_json_is_the_one_of_the_design(tmp_path: Path) -> None:
    """Fields and names as promised, strict, and the same on disk."""
    diagnosis = analyze(recorded(tmp_path / "run", losing_three))
    made = diagnosis.to_json()
    assert list(made) == [
        "schema", "run_dir", "verdict", "iterations", "loss_family", "findings", "modes", "metrics", "skipped",
        "recommendations", "blind_spots",
    ]  # fmt: skip
    assert made["schema"] == "gandiag.diagnosis/1"
    assert set(made["findings"][0]) == {
        "code", "name", "severity", "confidence", "first_step", "last_step", "message", "evidence",
    }  # fmt: skip
    assert set(made["modes"]) == {"count_real", "count_captured", "source", "modes"}
    assert set(made["modes"]["modes"][0]) == {
        "id", "real_share", "fake_share", "spread_ratio", "state", "p_adjusted",
    }  # fmt: skip
    assert set(made["metrics"]["coverage"]) == {
        "value", "low", "high", "null", "null_low", "null_high", "n_real", "n_fake",
    }  # fmt: skip
    assert set(made["recommendations"][0]) == {"techniques", "treats", "reasons", "cautions", "score"}
    assert json.loads((tmp_path / "run" / "derived" / "diagnosis.json").read_text()) == made


def test_a_directory_that_cannot_be_written_still_gives_a_diagnosis(tmp_path: Path) -> None:
    """A file lies where derived/ belongs: the answer is the same, and a blind spot says it was not kept."""
    run = recorded(tmp_path / "run", losing_three)
    (run / "derived").write_text("in the way")
    diagnosis = analyze(run)
    assert diagnosis.verdict == "collapsed"
    assert "not kept" in diagnosis.blind_spots[-1]


def test_what_is_no_run_directory_is_refused(tmp_path: Path) -> None:
    """A missing directory is a RunDirError with a cure."""
    with pytest.raises(RunDirError, match="no run directory"):
        analyze(tmp_path / "nothing")


def test_the_worst_finding_decides() -> None:
    """collapsed, unstable, at-risk, undetermined, healthy."""

    def one(code: str, severity: str) -> Finding:
        return Finding(
            code=code, severity=severity, confidence="high", first_step=1, last_step=1, message="", evidence={}
        )

    lost, won, warned = one("GD101", "critical"), one("GD201", "critical"), one("GD103", "warning")
    blind = Skipped(code="GD101", because="no snapshot")
    assert verdict([warned, won, lost], [blind]) == "collapsed"
    assert verdict([warned, won], [blind]) == "unstable"
    assert verdict([warned], [blind]) == "at-risk"
    assert verdict([one("GD203", "info")], [blind]) == "undetermined"
    assert verdict([one("GD203", "info")], [Skipped(code="GD105", because="few snapshots")]) == "healthy"
