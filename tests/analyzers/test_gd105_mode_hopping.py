import numpy as np
from helpers.evidence import STEPS, evidence, only

from gandiag.analyzers import ANALYZERS, Skipped

GD105 = ANALYZERS["GD105"]


def hop(held: int, count: int = len(STEPS)) -> np.ndarray:
    """`held` modes at a time, other ones at each look."""
    shares = np.zeros((count, 8))
    for row in range(count):
        shares[row, [(row * held + offset) % 8 for offset in range(held)]] = 0.95 / held
    return shares


def test_modes_that_come_and_go_are_critical() -> None:
    """Three modes at a time, other ones at each snapshot."""
    finding = only(GD105(evidence(shares=hop(3))))
    assert finding.severity == "critical"
    assert finding.evidence["held_at_a_time"] == 3
    assert finding.evidence["visited"] == 8


def test_modes_lost_once_are_no_hopping() -> None:
    """A loss for good is GD101's; hopping needs other modes to appear."""
    shares = np.full((7, 8), 0.12)
    shares[3:, :4], shares[3:, 4:] = 0, 0.24
    assert GD105(evidence(shares=shares)) == []


def test_the_warm_up_does_not_count() -> None:
    """What an untrained generator does before a tenth of the run is not held against it."""
    shares = np.vstack([hop(2, 2), np.full((7, 8), 0.12)])
    assert GD105(evidence(steps=(10, 50, *range(200, 900, 100)), shares=shares)) == []


def test_sampling_noise_is_no_hopping() -> None:
    """Shares of finite samples from an unchanging generator."""
    shares = np.random.default_rng(0).multinomial(1000, np.full(8, 1 / 8), size=7) / 1000
    assert GD105(evidence(shares=shares)) == []


def test_few_snapshots_cannot_show_it() -> None:
    """Two snapshots: refused, with the reason."""
    (answer,) = GD105(evidence(steps=(500, 1000), shares=hop(3, 2)))
    assert isinstance(answer, Skipped)
    assert "2 snapshots" in answer.because
