"""Samples and their labels from what is named on the command line: array files and folders of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def load_labels(text: str) -> NDArray[Any]:
    """[n] classes, whole numbers or names, from an array file or from text with one a line."""
    labels = np.asarray(load_array(text)) if is_array_file(text) else _from_text(Path(text))
    if labels.ndim != 1 or labels.dtype.kind not in "iubUS":
        raise ShapeError(
            f"{text} holds {labels.dtype} of shape {labels.shape}; expected one whole number or name a real sample"
        )
    return labels


def _from_text(path: Path) -> NDArray[Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read labels from {path}: {error}; give an array file, or one class a line") from error
    words, lines = text.split(), [line.strip() for line in text.splitlines() if line.strip()]
    if all(_is_whole(word) for word in words):
        return np.array([int(word) for word in words])
    whole = [_is_whole(line) for line in lines]
    if any(whole):
        raise UsageError(
            f"cannot read labels from {path}: {lines[whole.index(False)]!r} is no whole number, and others are; give "
            "one class a line, without a header, all as numbers or all as names"
        )
    return np.array(lines)


def _is_whole(word: str) -> bool:
    return word.removeprefix("-").isdecimal()


def _numbers(array: Array) -> bool:
    if isinstance(array, np.ndarray):
        return array.dtype.kind in "fiub"
    return not array.is_complex()
