import numpy as np
import pytest
from helpers.evidence import evidence, only

from gandiag.analyzers import ANALYZERS

GD301 = ANALYZERS["GD301"]


def gradients(net: str, factor: np.ndarray) -> dict:
    columns = dict(evidence().scalars)
    return {**columns, f"grad/{net}/total": columns[f"grad/{net}/total"] * factor}


@pytest.mark.parametrize("net", ["d", "g"])
def test_norms_that_leave_their_past_for_good(net: str) -> None:
    """A growth by a factor of ten in each 30 iterations from 700 on, with samples lost: critical, onset near 700."""
    factor = np.r_[np.ones(700), 10 ** (np.arange(300) / 30)]
    run = evidence(scalars=gradients(net, factor), series={"coverage": [0.9] * 5 + [0.3, 0.0]})
    finding = only(GD301(run))
    assert finding.severity == "critical"
    assert 700 <= finding.first_step <= 800
    assert finding.evidence["network"] == net.upper()


def test_a_burst_that_comes_down_again_is_a_warning() -> None:
    """Fifty iterations at a thousand times the norm."""
    factor = np.ones(1000)
    factor[500:550] = 1000
    assert only(GD301(evidence(scalars=gradients("d", factor)))).severity == "warning"


def test_what_every_healthy_run_does_is_no_explosion() -> None:
    """Single spikes, a slow growth by 30, norms in any unit, and D's gradients coming back from near zero."""
    spike = np.ones(1000)
    spike[500] = 1e6
    back = np.r_[np.ones(100), np.full(400, 1e-4), np.ones(500)]
    for factor in (spike, np.geomspace(1, 30, 1000), np.full(1000, 1e5), back):
        assert GD301(evidence(scalars=gradients("d", factor))) == []


def test_an_even_growth_without_end_is_found() -> None:
    """So even that no moment stands out, but six orders of magnitude in all."""
    finding = only(GD301(evidence(scalars=gradients("g", np.geomspace(1, 1e6, 1000)))))
    assert finding.evidence["to_the_end"]
