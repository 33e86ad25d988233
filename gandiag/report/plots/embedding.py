"""Real and generated samples in one plane: as they are when 2-D, else through a PCA fitted on the real ones."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from gandiag.report.plots._canvas import PALETTE, canvas, svg
from gandiag.report.plots.base import Picture, plot
from gandiag.report.view import View

Points = NDArray[np.float64]

#: Enough to see the shape, few enough that the page stays light.
MAX_POINTS = 900


@plot("embedding", title="Real and generated samples", order=20)
def draw(view: View) -> Picture | None:
    """Real points alone, then the fakes above them, on the same axes."""
    if view.snapshot is None:
        return None
    real, fake = finite(view.snapshot.real), finite(view.snapshot.fake)
    lost = len(view.snapshot.fake) - len(fake)
    if len(real) < 2 or real.shape[1] < 1:
        return None
    real_2d, fake_2d, how = project(real=real, fake=fake)
    low, high = frame(real=real_2d, fake=fake_2d)
    outside = int(np.sum(np.any((fake_2d < low) | (fake_2d > high), axis=1)))
    with canvas(9.2, 4.5) as figure:
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        scatter(left, some(real_2d), "real")
        left.set_title(f"Real ({len(real):,})")
        scatter(right, some(real_2d), "null")
        scatter(right, some(fake_2d), "fake")
        right.set_title(f"Generated ({len(fake):,}), real in grey")
        for axes in (left, right):
            axes.set_xlim(low[0], high[0])
            axes.set_ylim(low[1], high[1])
            if real.shape[1] == 2:
                axes.set_aspect("equal", adjustable="box")
            else:
                axes.tick_params(labelbottom=False, labelleft=False)  # units of a projection mean nothing
        markup = svg(figure, title="Real and generated samples in two dimensions")
    caption = f"Snapshot at iteration {view.snapshot.step:,}; {how}. Grey places without orange are not generated."
    if outside:
        caption += f" {outside:,} generated samples lie outside the frame."
    if lost:
        caption += f" {lost:,} generated samples are NaN or infinite."
    return Picture(markup, caption)


def project(*, real: Points, fake: Points) -> tuple[Points, Points, str]:
    """Both sets in two dimensions and a phrase that says how.

    The axes come from the real samples only: fakes that collapse to a point must not choose the view.

    Args:
        real: [n, d], finite.
        fake: [m, d], finite.
    """
    if real.shape[1] == 2:
        return real, fake, "the two dimensions of the data"
    if real.shape[1] == 1:
        rng = np.random.default_rng(0)  # a little height, so that points on a line can be seen
        return (
            np.column_stack([real, rng.uniform(-0.5, 0.5, len(real))]),
            np.column_stack([fake, rng.uniform(-0.5, 0.5, len(fake))]),
            "one dimension (the height is random)",
        )
    centre = real.mean(axis=0)
    _, sizes, axes = np.linalg.svd(real - centre, full_matrices=False)
    variance = sizes**2
    share = float(variance[:2].sum() / variance.sum()) if variance.sum() > 0 else 0.0
    plane = axes[:2].T
    if plane.shape[1] < 2:
        plane = np.column_stack([plane, np.zeros(len(plane))])
    how = f"PCA of the real embeddings, two axes with {100 * share:.0f} % of their variance"
    return (real - centre) @ plane, (fake - centre) @ plane, how


def finite(rows: NDArray[np.float32]) -> Points:
    """The rows without NaN or infinity, as float64."""
    wide = np.asarray(rows, dtype=np.float64)
    return wide[np.isfinite(wide).all(axis=1)]


def frame(*, real: Points, fake: Points) -> tuple[Points, Points]:
    """Corners of the view: all real points and all but the farthest fakes, with a margin."""
    low, high = real.min(axis=0), real.max(axis=0)
    size = np.maximum(high - low, 1e-9)
    if len(fake):
        # At most as much again on each side: one exploded sample must not shrink the picture to a dot.
        low = np.maximum(np.minimum(low, np.quantile(fake, 0.01, axis=0)), low - size)
        high = np.minimum(np.maximum(high, np.quantile(fake, 0.99, axis=0)), high + size)
    margin = 0.06 * np.maximum(high - low, 1e-9)
    return low - margin, high + margin


def some(points: Points) -> Points:
    """At most `MAX_POINTS` of the points, the same ones each time."""
    if len(points) <= MAX_POINTS:
        return points
    return points[np.random.default_rng(0).choice(len(points), MAX_POINTS, replace=False)]


def scatter(axes: Axes, points: Points, role: str) -> None:
    """Draw [n, 2] points in the colour of a role."""
    axes.plot(*points.T, "o", ms=2.6, mew=0, alpha=0.55, color=PALETTE[role])
