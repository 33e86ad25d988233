"""What is diagnosed from a log, and what is never claimed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import event, scalar, write_events
from helpers.runs import write_run

from gandiag.analyze import Diagnosis, analyze
from gandiag.errors import RunDirError
from gandiag.rundir import export

DATA = Path(__file__).parent / "data"
NEED_SAMPLES = {"GD101", "GD103", "GD104", "GD105"}


def table(path: Path, **columns: object) -> Path:
    """A CSV with a `step` and these columns."""
    rows = zip(*(np.asarray(values).tolist() for values in columns.values()), strict=True)
    lines = [",".join(map(str, (step, *row))) for step, row in enumerate(rows, start=1)]
    path.write_text("\n".join([",".join(["step", *columns]), *lines, ""]))
    return path


def because(diagnosis: Diagnosis) -> dict[str, str]:
    return {skipped.code: skipped.because for skipped in diagnosis.skipped}


@pytest.mark.parametrize("log", ["events", "stats.jsonl", "lightning.csv"])
def test_losses_that_show_nothing_wrong_decide_nothing(log: str) -> None:
    """Each format, as a real writer left it: undetermined, with the same fields as a run, and a cure for what lacks."""
    diagnosis = analyze(DATA / log)
    made = diagnosis.to_json()
    json.dumps(made, allow_nan=False)
    assert made["schema"] == "gandiag.diagnosis/1"
    assert set(made) == set(Diagnosis(run_dir="", verdict="healthy", iterations=0, loss_family="").to_json())
    assert made["verdict"] == "undetermined"
    assert set(because(diagnosis)) >= NEED_SAMPLES
    assert all("no samples" in because(diagnosis)[code] for code in NEED_SAMPLES)
    assert all("gandiag run" in because(diagnosis)[code] for code in NEED_SAMPLES)
    assert any("it has no samples" in spot for spot in diagnosis.blind_spots)
    assert any(spot.startswith("read: D's loss from") for spot in diagnosis.blind_spots)


def test_a_loss_that_falls_to_zero_is_no_collapse(tmp_path: Path) -> None:
    """D's loss at 0 and G's at 40 look like the end, and may be a healthy critic: undetermined."""
    fall = np.exp(-np.arange(1000) / 40)
    diagnosis = analyze(table(tmp_path / "log.csv", loss_D=fall, loss_G=40 * (1 - fall)))
    assert diagnosis.verdict == "undetermined"
    assert diagnosis.findings == ()


def test_nan_to_the_end_is_unstable(tmp_path: Path) -> None:
    """GD303 needs no samples; it names the step where the training died."""
    losses = np.where(np.arange(1000) < 700, 0.5, np.nan)
    diagnosis = analyze(table(tmp_path / "log.csv", errD=losses, errG=np.ones(1000)))
    assert diagnosis.verdict == "unstable"
    assert [(finding.code, finding.first_step) for finding in diagnosis.findings] == [("GD303", 701)]


def test_scores_that_circle_are_seen(tmp_path: Path) -> None:
    """GD203 speaks of D's outputs alone, and at `info`, so the verdict stays open."""
    wave = 3 * np.sin(np.arange(2000) / 50)
    diagnosis = analyze(table(tmp_path / "log.csv", **{"scores/real": wave, "scores/fake": -wave}))
    assert [(finding.code, finding.severity) for finding in diagnosis.findings] == [("GD203", "info")]
    assert diagnosis.verdict == "undetermined"


def test_a_discriminator_that_won_is_a_risk(tmp_path: Path) -> None:
    """Accuracy and G's gradient are enough for GD201, with little confidence, as no sample can confirm it."""
    fall = np.exp(-np.arange(1000) / 40) + 1e-6
    diagnosis = analyze(table(tmp_path / "log.csv", D_acc=np.full(1000, 100), grad_norm_G=fall))
    (finding,) = diagnosis.findings
    assert (finding.code, finding.severity, finding.confidence) == ("GD201", "warning", "low")
    assert diagnosis.verdict == "at-risk"


def test_gradients_that_explode_are_seen(tmp_path: Path) -> None:
    """GD301 on a logged norm."""
    norms = np.where(np.arange(2000) < 1500, 1.0, 1e7) * (1 + np.arange(2000) % 7 / 10)
    diagnosis = analyze(table(tmp_path / "log.csv", grad_norm_D=norms, loss_D=np.ones(2000)))
    assert {finding.code for finding in diagnosis.findings} == {"GD301"}
    assert diagnosis.verdict == "unstable"


def test_each_rule_says_what_the_log_lacks(tmp_path: Path) -> None:
    """Not "0 gradient norms are too few", but that this log has none."""
    reasons = because(analyze(table(tmp_path / "log.csv", loss_D=np.ones(500), loss_G=np.ones(500))))
    assert "no gradient norms of G" in reasons["GD201"]
    assert "no gradient norms;" in reasons["GD301"]
    assert "no scores of D" in reasons["GD203"]
    assert "GD303" not in reasons


def test_a_log_without_a_known_column_says_how_to_name_them(tmp_path: Path) -> None:
    """Nothing can be judged, which is said and not hidden."""
    diagnosis = analyze(table(tmp_path / "log.csv", fid=np.ones(10)))
    assert diagnosis.verdict == "undetermined"
    assert "GD303" in because(diagnosis)
    assert any("no column is known" in spot and "'loss_D'" in spot for spot in diagnosis.blind_spots)
    assert any("not used: 'fid'" in spot for spot in diagnosis.blind_spots)


def test_nothing_is_written_beside_a_log(tmp_path: Path) -> None:
    """The folder is somebody else's: not one file more, whatever the format."""
    write_events(tmp_path / "tb" / "events.out.tfevents.1.host", [event(1, scalar("loss_d", 1.0))])
    table(tmp_path / "log.csv", loss_D=[1, 2])
    (tmp_path / "stats.jsonl").write_bytes((DATA / "stats.jsonl").read_bytes())
    before = sorted(tmp_path.rglob("*"))
    for log in ("tb", "log.csv", "stats.jsonl"):
        analyze(tmp_path / log)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_gandiag_exports_is_read_under_its_own_names(tmp_path: Path) -> None:
    """`gandiag export --to csv` and back: the same columns, and the last iteration of the run."""
    losses = {"loss/d": np.arange(50.0), "loss/g": np.ones(50), "grad/d/total": np.ones(50)}
    run = write_run(tmp_path / "run", scalars=losses)
    export(run, "csv", tmp_path / "out")
    diagnosis = analyze(tmp_path / "out")
    assert diagnosis.log is not None
    assert diagnosis.iterations == 50
    assert diagnosis.log.log.axis == "iterations"
    assert diagnosis.log.table.scalars["loss/d"].tolist() == losses["loss/d"].tolist()


def test_a_run_directory_is_never_taken_for_a_log(tmp_path: Path) -> None:
    """Whatever else lies in it."""
    run = write_run(tmp_path / "run", scalars={"loss/d": [1.0, 2.0]})
    table(run / "log.csv", loss_D=[1, 2])
    diagnosis = analyze(run)
    assert diagnosis.log is None
    assert (run / "derived" / "diagnosis.json").exists()


@pytest.mark.parametrize("content", ["a text", "{]", ""])
def test_what_is_no_log_names_the_formats(tmp_path: Path, content: str) -> None:
    """One message, with what would do."""
    path = tmp_path / "file"
    path.write_text(content)
    for unknown in (path, tmp_path / "missing", tmp_path):
        with pytest.raises(RunDirError, match=r"stats\.jsonl.*TensorBoard.*CSV"):
            analyze(unknown)
