"""Samples and their labels from what is named on the command line: array files and folders of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gandiag.errors import ShapeError, UsageError
from gandiag_cli.arrays import Array, is_array_file, load_array
from gandiag_cli.images import ImageFolder


def load_samples(text: str) -> Array | ImageFolder:
    """Samples of a file or folder.

    Args:
        text: a `.npy`, `.npz` or `.safetensors` file, `FILE:NAME` where it holds several arrays, or a folder of images.

    Returns:
        An array `[n, ...]` as it is in the file, or a stream of batches.

    Raises:
        UsageError: what was found is not that, with what to do.
    """
    if Path(text).is_dir():
        return ImageFolder(Path(text))
    array = load_array(text)
    if array.ndim == 0 or not _numbers(array):
        raise ShapeError(
            f"{text} holds {array.dtype} of shape {tuple(array.shape)}; expected numbers [n, ...], one sample a row"
        )
    return array


def load_labels(text: str) -> NDArray[np.int64]:
    """[n] whole numbers from an array file or from text with one number a line."""
    if is_array_file(text):
        labels = np.asarray(load_array(text))
    else:
        try:
            labels = np.array([int(line) for line in Path(text).read_text(encoding="utf-8").split()])
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise UsageError(
                f"cannot read labels from {text}: {error}; give an array file, or one whole number a line"
            ) from error
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise ShapeError(
            f"{text} holds {labels.dtype} of shape {labels.shape}; expected one whole number a real sample"
        )
    return labels.astype(np.int64)


def _numbers(array: Array) -> bool:
    if isinstance(array, np.ndarray):
        return array.dtype.kind in "fiub"
    return not array.is_complex()
