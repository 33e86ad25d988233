"""Which trainings are not worth finishing, judged from what they have recorded so far.

Two rules only, both of states that a GAN does not come back from: gradients that stay non-finite, and a
generator that has given the same sample for a long time. Whatever is merely worse than others is left to
finish: many collapses look better, and many cures worse, in their first third.
"""

from __future__ import annotations

import numpy as np

from gandiag.errors import RunDirError
from gandiag.remediate.trials import Trial
from gandiag.rundir import RunReader

#: So many iterations in a row with non-finite gradients or losses; mixed precision skips a few now and then.
NONFINITE_ITERATIONS = 50
#: Spread of the fakes over that of the reals below which the batch is one point.
POINT = 0.01
#: No verdict on diversity before this share of the training; untrained generators give almost a point too.
PATIENCE = 1 / 3


def iterations_of(run_dir: str) -> int:
    """How many iterations the run directory holds so far; 0 before its recording has begun."""
    iterations = _scalars(run_dir).get("iteration", np.zeros(0))
    return int(iterations[-1]) if len(iterations) else 0


def reason_to_stop(trial: Trial) -> str | None:
    """Why this running trial should end now, in words, or None to let it run."""
    scalars = _scalars(trial.run_dir)
    iterations = scalars.get("iteration", np.zeros(0))
    nonfinite = scalars.get("numerics/nonfinite", np.zeros(0))[-NONFINITE_ITERATIONS:]
    if len(nonfinite) == NONFINITE_ITERATIONS and np.all(nonfinite > 0):
        return f"gradients or losses were not finite for {NONFINITE_ITERATIONS} iterations in a row"

    late = iterations >= PATIENCE / 2 * trial.max_iterations
    if len(iterations) and iterations[-1] >= PATIENCE * trial.max_iterations:
        spread = scalars.get("sample/std_ratio", np.full(len(iterations), np.nan))[late]
        spread = spread[np.isfinite(spread)]
        if len(spread) and np.all(spread < POINT):
            since = int(iterations[late][0])
            return f"every sample was the same since iteration {since} (spread under {POINT} of the data's)"
    return None


def _scalars(run_dir: str) -> dict[str, np.ndarray]:
    try:
        return RunReader(run_dir).scalars()
    except RunDirError:
        return {}  # not begun yet; if it never begins, the outcome says so
