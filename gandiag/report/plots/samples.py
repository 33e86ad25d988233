"""Real and generated images side by side, where the run recorded thumbnails."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray

from gandiag.report.plots.base import Picture, plot
from gandiag.report.view import View

Pixels = NDArray[np.uint8]

COLUMNS = 8
ROWS = 6
#: Small images are enlarged by a whole factor until a tile is about this many pixels wide.
TILE = 64


@plot("samples", title="Samples", order=15)
def draw(view: View) -> Picture | None:
    """Two grids in one picture: real on the left, generated on the right."""
    snapshot = view.snapshot
    if snapshot is None or snapshot.thumbs_real is None or snapshot.thumbs_fake is None:
        return None
    if not len(snapshot.thumbs_real) or not len(snapshot.thumbs_fake):
        return None
    markup = pair(("Real", snapshot.thumbs_real), ("Generated", snapshot.thumbs_fake))
    caption = f"Snapshot at iteration {snapshot.step:,}. The same picture again and again is collapse to the eye."
    return Picture(markup, caption)


def pair(*sides: tuple[str, Pixels]) -> str:
    """Named sets of images as grids beside each other; the names are ours, not a run's."""
    figures = "".join(
        f'<div><h4>{name}</h4><img src="{_data_uri(grid(images))}" alt="{name} samples"></div>'
        for name, images in sides
    )
    return f'<div class="pair">{figures}</div>'


def grid(images: Pixels) -> Pixels:
    """Up to 48 images as one, with a hair of space between.

    Args:
        images: [k, h, w, c], uint8, c 1 or 3.

    Returns:
        [height, width, 3], uint8; empty places are mid-grey.
    """
    images = np.asarray(images)[: COLUMNS * ROWS]
    factor = max(1, TILE // max(images.shape[1:3]))
    images = np.repeat(np.repeat(images, factor, axis=1), factor, axis=2)
    count, height, width, _ = images.shape
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    gap = 2
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 128, dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image  # one channel broadcasts to three
    return sheet


def _data_uri(pixels: Pixels) -> str:
    import matplotlib.image

    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, pixels, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
