"""Whether an arm is really better than the unmodified control: an interval for the difference of their scores.

A score differs between two seeds of one script as much as between two scripts, so what counts is the
noise from seed to seed, and with two or three seeds that noise is itself hardly known. The usual percentile
bootstrap over seeds ignores this: with two seeds it calls an arm that changes nothing better one time in
four. Here the spread over seeds is pooled over both arms (if a technique changes nothing they share one
distribution) and the draws are scaled by Student's t with its few degrees of freedom; the finite sample of
each run is added as noise of its own. See docs/why/control-arm.md for how often it is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gandiag.errors import UsageError
from gandiag.remediate.judge import VERDICTS, RunScore, worse


@dataclass(frozen=True)
class Verification:
    """An arm held against the control.

    Attributes:
        value: mean over the seeds of arm minus control.
        low, high: the interval of that mean.
        pairs: arm minus control for each seed.
        verified: `low > 0`, the arm's worst verdict is no worse than the control's, and the seeds differ.
        because: the answer in one sentence.
    """

    value: float
    low: float
    high: float
    pairs: tuple[float, ...]
    verified: bool
    because: str

    @property
    def promising(self) -> bool:
        """Not verified, but better on average: more seeds may settle it."""
        return not self.verified and self.value > 0


def verify(
    *,
    control: Sequence[RunScore],
    arm: Sequence[RunScore],
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
) -> Verification:
    """Compare an arm with the control on the same seeds.

    Args:
        control: N >= 2 scores, one a seed.
        arm: N scores on the same seeds, in the same order.
        level: of the two-sided interval.
        draws: bootstrap draws.
        seed: of the draws; the answer is the same each time.

    Raises:
        UsageError: with fewer than two seeds, or unequal numbers.
    """
    if len(arm) != len(control) or len(arm) < 2:
        raise UsageError(
            f"a comparison needs the same seeds for both, two at least: got {len(control)} of control and "
            f"{len(arm)} of the arm; use --seeds 2 or more"
        )
    n = len(arm)
    ours, theirs = np.array([run.value for run in arm]), np.array([run.value for run in control])
    freedom = 2 * (n - 1)
    variance = (np.sum((ours - ours.mean()) ** 2) + np.sum((theirs - theirs.mean()) ** 2)) / freedom

    rng = np.random.default_rng(seed)
    over_seeds = rng.standard_t(freedom, draws) * np.sqrt(2 * variance / n)
    resampled = [run.draws(rng, draws) - run.value for run in (*arm, *control)]
    over_samples = (sum(resampled[:n]) - sum(resampled[n:])) / n
    difference = float(np.mean(ours - theirs))
    tail = (1 - level) / 2
    low, high = np.quantile(difference + over_seeds + over_samples, [tail, 1 - tail])

    verdicts = [max((run.verdict for run in runs), key=VERDICTS.index) for runs in (arm, control)]
    doubts = []
    if worse(verdicts[0], than=verdicts[1]):
        doubts.append(f"its worst verdict is {verdicts[0]} where the control's is {verdicts[1]}")
    if control[0].metrics and all(run.metrics == control[0].metrics for run in control):
        # Equal to the last digit: the "seeds" are one training, repeated, and say nothing about luck.
        doubts.append(
            "the control came out the same on every seed, so the script's seed cannot be changed from outside"
        )
    return Verification(
        value=difference,
        low=float(low),
        high=float(high),
        pairs=tuple(float(pair) for pair in ours - theirs),
        verified=bool(low > 0 and not doubts),
        because=f"{_answer(float(low), doubts)}: {difference:+.2f} in score over {n} seeds, "
        f"{100 * level:.0f} % interval {low:+.2f} to {high:+.2f}",
    )


def _answer(low: float, doubts: Sequence[str]) -> str:
    if low > 0 and not doubts:
        return "better than the control"
    return " and ".join(["not shown to be better than the control", *doubts])
