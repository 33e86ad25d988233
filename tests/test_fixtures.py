"""The recorded runs in `fixtures/` get the answer that they were made for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gandiag.analyze import analyze

FIXTURES = Path(__file__).parents[1] / "fixtures"
TRUTH = {
    "healthy": ("healthy", set()),
    "modes-missing": ("collapsed", {"GD101"}),
    "point-collapse": ("collapsed", {"GD104"}),
    "hopping": ("collapsed", {"GD105"}),
    "d-too-strong": ("unstable", {"GD201"}),
    "diverged": ("unstable", {"GD303"}),
}


def test_every_fixture_has_a_known_answer() -> None:
    """No recording without a truth, no truth without a recording."""
    assert {path.parent.name for path in FIXTURES.glob("*/run.json")} == set(TRUTH)


@pytest.mark.parametrize("name", TRUTH)
def test_the_answer_is_the_known_one(name: str, tmp_path: Path) -> None:
    """Verdict and critical codes of a real, small recording; and it stays small."""
    assert sum(file.stat().st_size for file in (FIXTURES / name).glob("rank*/**/*") if file.is_file()) < 300_000
    run = shutil.copytree(FIXTURES / name, tmp_path / name, ignore=shutil.ignore_patterns("derived"))
    diagnosis = analyze(run)
    verdict, codes = TRUTH[name]
    assert diagnosis.verdict == verdict, diagnosis.findings
    assert codes <= {finding.code for finding in diagnosis.findings if finding.severity == "critical"}
    assert bool(diagnosis.recommendations) == (verdict != "healthy")
