"""The figures of a remediation: the arms' scores, and the samples of control and winner side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gandiag.report import words
from gandiag.report.plots._canvas import PALETTE, canvas, label, svg
from gandiag.report.plots.base import Picture
from gandiag.report.plots.embedding import finite, frame, project, scatter, some
from gandiag.report.plots.samples import pair
from gandiag.report.text import number

if TYPE_CHECKING:
    from gandiag.rundir import Snapshot

Json = Mapping[str, Any]


def scores(data: Json) -> Picture | None:
    """Every training as a dot, every arm's mean as a bar mark; the control in grey."""
    arms = [arm for arm in (data.get("control"), *(data.get("arms") or [])) if arm]
    rows = [(arm, _per_seed(arm)) for arm in arms]
    rows = [(arm, values) for arm, values in rows if len(values)]
    if len(rows) < 2:
        return None
    winner = (data.get("winner") or {}).get("name")
    with canvas(9.2, 0.42 * len(rows) + 0.9) as figure:
        axes = figure.add_subplot()
        for height, (arm, values) in enumerate(reversed(rows)):
            role = "gen" if arm.get("name") == winner else "null" if not arm.get("techniques") else "info"
            axes.plot(values, np.full(len(values), height), "o", color=PALETTE[role], ms=7, alpha=0.75, mew=0)
            axes.plot([values.mean()] * 2, [height - 0.3, height + 0.3], color=PALETTE[role], lw=2.4)
        names = [words.techniques_text(arm.get("techniques") or []) for arm, _ in reversed(rows)]
        axes.set_yticks(range(len(rows)), [label(name, limit=44) for name in names])
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("score: 1 is as good as held-out real data")
        markup = svg(figure, title="Score of each training, by arm")
    return Picture(markup, "A dot is one training, the line the mean of an arm. Unmodified is the control.")


def embeddings(*, before: Snapshot, after: Snapshot) -> Picture | None:
    """Control and winner in one and the same plane."""
    real = finite(before.real)
    fakes = [finite(before.fake), finite(after.fake)]
    if len(real) < 2 or any(fake.shape[1] != real.shape[1] for fake in fakes):
        return None
    plane, left_fake, how = project(real=real, fake=fakes[0])
    _, right_fake, _ = project(real=real, fake=fakes[1])
    low, high = frame(real=plane, fake=np.concatenate([left_fake, right_fake]))
    with canvas(9.2, 4.5) as figure:
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, fake, title in zip(panels, (left_fake, right_fake), ("Control", "Winner"), strict=True):
            scatter(axes, some(plane), "null")
            scatter(axes, some(fake), "fake")
            axes.set_title(f"{title}, real in grey")
            axes.set_xlim(low[0], high[0])
            axes.set_ylim(low[1], high[1])
            axes.tick_params(labelbottom=False, labelleft=False)
            if real.shape[1] == 2:
                axes.set_aspect("equal", adjustable="box")
        markup = svg(figure, title="Samples of control and winner in two dimensions")
    return Picture(markup, f"Last snapshots of one training each; {how}.")


def samples(*, before: Snapshot, after: Snapshot) -> Picture | None:
    """Thumbnails of control and winner, where the samples are images."""
    if before.thumbs_fake is None or after.thumbs_fake is None:
        return None
    if not len(before.thumbs_fake) or not len(after.thumbs_fake):
        return None
    markup = pair(("Control", before.thumbs_fake), ("Winner", after.thumbs_fake))
    return Picture(markup, "Generated samples of the last snapshots, not chosen.")


def _per_seed(arm: Json) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = ((arm.get("metrics") or {}).get("score") or {}).get("per_seed") or []
    found = np.array([number(value) for value in values], dtype=np.float64)
    return found[np.isfinite(found)]
