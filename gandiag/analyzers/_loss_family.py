"""Which adversarial loss a script uses, read from D's outputs and the gradients that its loss sent back to them.

The derivative of each loss with respect to one output l has a shape of its own, up to the scale:

    bce            real: sigmoid(l) - 1 (or - 0.9, smoothed)      fake: sigmoid(l)
    hinge          real: -1 while l < 1, else 0                   fake: 1 while l > -1, else 0
    wasserstein    real: -1                                       fake: 1
    least-squares  real: l - 1                                    fake: l
    relativistic   of a pair (r, f): -sigmoid(f - r) for r, sigmoid(f - r) for f

So no name in the script needs to be known, and a loss written by hand is seen as well as a library's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]

ENOUGH = 16
"""Rows of either kind below which a shape cannot be told from another."""
CLOSE = 0.02
"""Largest root mean square residual, relative to the gradients, of a shape that fits."""
CLEARLY = 3.0
"""How many times better than the runner-up the best shape must fit."""


@dataclass(frozen=True)
class Outputs:
    """D's outputs of one snapshot and the gradients of D's loss with respect to them, all [n] or [m].

    Attributes:
        real: logits on real rows.
        fake: logits on fake rows.
        real_gradient: dLoss_D / dOutput on the real rows.
        fake_gradient: the same on the fake rows.
        probability: D ends in a sigmoid, so the gradients are with respect to sigmoid(logit).
    """

    real: Array
    fake: Array
    real_gradient: Array
    fake_gradient: Array
    probability: bool = False


def infer_loss_family(snapshots: Iterable[Outputs]) -> str:
    """Each snapshot votes; `unknown` where none can tell.

    Returns:
        `bce`, `hinge`, `wasserstein`, `least-squares`, `relativistic` or `unknown`.
    """
    votes = Counter(family for outputs in snapshots if (family := _vote(outputs)) is not None)
    for certain in ("wasserstein", "hinge"):  # each has rows no other loss makes; inside the margin they are alike
        if votes[certain] and votes.most_common(1)[0][0] in ("margin", certain):
            return certain
    votes.pop("margin", None)
    return votes.most_common(1)[0][0] if votes else "unknown"


def _vote(outputs: Outputs) -> str | None:
    real, fake, down, up = outputs.real, outputs.fake, outputs.real_gradient, outputs.fake_gradient
    if min(len(real), len(fake)) < ENOUGH or len(real) != len(down) or len(fake) != len(up):
        return None
    if not all(np.isfinite(part).all() for part in (real, fake, down, up)):
        return None
    if down.mean() > 0 > up.mean():  # some scripts call real 0 and fake 1
        real, fake, down, up = -real, -fake, -down, -up
    scale = max(np.abs(down).max(), np.abs(up).max())
    if scale == 0:
        return None
    down, up = down / scale, up / scale
    return _pairwise(real, fake, down, up) or _piecewise(real, fake, down, up) or _smooth(outputs, real, fake, down, up)


def _pairwise(real: Array, fake: Array, down: Array, up: Array) -> str | None:
    if len(real) != len(fake) or not np.allclose(down, -up, atol=1e-4):
        return None
    if down.std() < 1e-4:
        return None  # all alike, as Wasserstein's are
    return "relativistic" if _residual(up, expit(fake - real)[:, None]) < CLOSE else None


def _piecewise(real: Array, fake: Array, down: Array, up: Array) -> str | None:
    """Gradients that take one value, or one value and zero."""
    off_real, off_fake = np.abs(down) < 1e-6, np.abs(up) < 1e-6
    on = np.concatenate([down[~off_real], -up[~off_fake]])
    flat = len(on) > 0 and all(part.std() < 1e-3 for part in (down[~off_real], up[~off_fake]) if len(part))
    if not flat or (on > 0).any():
        return None
    if off_real.any() or off_fake.any():
        beyond_margin = (real[off_real] >= 1 - 1e-3).all() and (fake[off_fake] <= -1 + 1e-3).all()
        return "hinge" if beyond_margin else None
    beyond = (real > 1 + 1e-3).any() or (fake < -1 - 1e-3).any()
    return "wasserstein" if beyond else "margin"


def _smooth(outputs: Outputs, real: Array, fake: Array, down: Array, up: Array) -> str | None:
    """The best of the curves, if it fits and the next one fits clearly worse."""
    p_real, p_fake = expit(real), expit(fake)
    if outputs.probability:  # gradients with respect to p: BCE's become sigmoid-shaped times dp/dl
        fits = {
            "bce": _both(down * p_real * (1 - p_real), p_real, up * p_fake * (1 - p_fake), p_fake),
            "least-squares": _both(down, p_real, up, p_fake),
        }
    else:
        fits = {
            "bce": _both(down, p_real, up, p_fake),
            "least-squares": _both(down, real, up, fake),
            "relativistic": _both(down, expit(real - fake.mean()), up, expit(fake - real.mean())),
        }
    (best, residual), (_, second) = sorted(fits.items(), key=lambda item: item[1])[:2]
    return best if residual < CLOSE and second > CLEARLY * residual else None


def _both(down: Array, x_real: Array, up: Array, x_fake: Array) -> float:
    ones_real, ones_fake = np.ones_like(x_real), np.ones_like(x_fake)
    residuals = (
        _residual(down, np.column_stack([x_real, ones_real])),
        _residual(up, np.column_stack([x_fake, ones_fake])),
    )
    return max(residuals)


def _residual(gradient: Array, features: Array) -> float:
    """Root mean square of what a linear fit leaves, over that of the gradient's own variation.

    Infinite where the slope is not positive (every loss pushes harder where D is further off) or nothing varies.
    """
    weights, *_ = np.linalg.lstsq(features, gradient, rcond=None)
    varies = gradient.std()
    if weights[0] <= 0 or varies < 1e-6:
        return float("inf")
    return float(np.sqrt(np.mean((gradient - features @ weights) ** 2)) / varies)
