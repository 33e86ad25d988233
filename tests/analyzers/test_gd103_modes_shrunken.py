import numpy as np
from helpers.evidence import evidence, only

from gandiag.analyzers import ANALYZERS

GD103 = ANALYZERS["GD103"]


def spread(late: float) -> np.ndarray:
    """Healthy for four snapshots, then `late` in all eight modes."""
    return np.vstack([np.ones((4, 8)), np.full((3, 8), late)])


def test_crushed_modes_are_critical() -> None:
    """A tenth of the spread with ten times the density: a collapse within the modes, which coverage does not see."""
    run = evidence(spread=spread(0.1), series={"density": [1.0] * 4 + [10.0] * 3, "coverage": [1.0] * 7})
    finding = only(GD103(run))
    assert finding.severity == "critical"
    assert finding.first_step == 600
    assert finding.evidence["shrunken_modes"] == list(range(8))


def test_shrunken_modes_are_a_warning() -> None:
    """Less than half of the spread."""
    run = evidence(spread=spread(0.4), series={"density": [1.0] * 4 + [3.0] * 3})
    assert only(GD103(run)).severity == "warning"


def test_without_high_density_a_low_spread_is_not_believed() -> None:
    """Shrinking drives density up; where it stays at its null, the spread ratio is mistaken (few samples, junk)."""
    assert GD103(evidence(spread=spread(0.4))) == []


def test_one_small_mode_decides_nothing() -> None:
    """The median over the data's weight: a tiny shrunken mode is no finding."""
    run = evidence(
        shares=[[0.9, 0.05]] * 7,
        real_shares=np.array([0.95, 0.05]),
        spread=np.array([[1.0, 0.1]] * 7),
        series={"density": [3.0] * 7},
    )
    assert GD103(run) == []
