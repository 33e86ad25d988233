"""Samples from files for the command line: arrays and folders of images. Nothing in them is executed or unpickled."""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gandiag.errors import MissingExtra, ShapeError, UsageError

Array = NDArray[Any]

IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"}


def load_samples(text: str) -> NDArray[np.float32]:
    """Samples of a file or folder.

    Args:
        text: a `.npy`, `.npz` or `.safetensors` file, `FILE:NAME` where it holds several arrays, or a folder of images.

    Returns:
        [n, ...] float32; images [n, c, h, w] in 0..1 with c 1 or 3.

    Raises:
        UsageError: what was found is not that, with what to do.
    """
    path, _ = _split(text)
    array = _folder(path) if path.is_dir() else _file(text)
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise ShapeError(
            f"{text} holds {array.dtype} of shape {array.shape}; expected numbers [n, ...], one sample a row"
        )
    samples = array.astype(np.float32)
    return samples[:, None] if samples.ndim == 1 else samples


def load_labels(path: Path) -> NDArray[np.int64]:
    """[n] whole numbers from an array file or from text with one number a line."""
    if path.suffix.lower() in _READERS:
        labels = _file(str(path))
    else:
        try:
            labels = np.array([int(line) for line in path.read_text(encoding="utf-8").split()])
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise UsageError(
                f"cannot read labels from {path}: {error}; give an array file, or one whole number a line"
            ) from error
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise ShapeError(
            f"{path} holds {labels.dtype} of shape {labels.shape}; expected one whole number a real sample"
        )
    return labels.astype(np.int64)


def _split(text: str) -> tuple[Path, str | None]:
    """`FILE:NAME` as file and name; a path that exists is taken as it is, colons and all."""
    path = Path(text)
    head, colon, name = text.rpartition(":")
    if path.exists() or not colon or not Path(head).is_file():
        return path, None
    return Path(head), name


def _file(text: str) -> Array:
    path, name = _split(text)
    reader = _READERS.get(path.suffix.lower())
    if not path.exists():
        raise UsageError(f"{path} does not exist; give an array file ({', '.join(_READERS)}) or a folder of images")
    if reader is None:
        raise UsageError(f"{path} is no array file: expected {', '.join(_READERS)}, or a folder of images")
    try:
        arrays = reader(path)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"cannot read {path}: {error}; save it again, as plain numbers without pickled objects"
        ) from error
    if name is None and len(arrays) == 1:
        return next(iter(arrays.values()))
    if name in arrays:
        return arrays[str(name)]
    known = ", ".join(sorted(arrays)) or "none"
    raise UsageError(f"{path} holds these arrays: {known}. Name one of them as {path}:NAME")


def _npy(path: Path) -> dict[str, Array]:
    return {"array": np.load(path, allow_pickle=False)}


def _npz(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _safetensors(path: Path) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file  # NumPy has no bfloat16, so not through safetensors.numpy

    try:
        return {name: tensor.float().numpy() for name, tensor in load_file(path).items()}
    except SafetensorError as error:
        raise ValueError(str(error)) from error


_READERS: dict[str, Callable[[Path], dict[str, Array]]] = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors}


def _folder(folder: Path) -> Array:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGES and path.is_file())
    if not files:
        raise UsageError(
            f"{folder} holds no images ({', '.join(sorted(IMAGES))}); give another folder or an array file"
        )
    try:
        pillow = importlib.import_module("PIL.Image")
    except ImportError as error:
        raise MissingExtra("reading image folders needs Pillow: pip install pillow") from error
    images = [_image(pillow, path) for path in files]
    for path, image in zip(files, images, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            raise UsageError(
                f"{path} is {_size(image)} and {files[0]} is {_size(images[0])}: resize all images to one size, "
                "with the same method for real and fake (it changes the metrics)"
            )
    grey = all(image.ndim == 2 for image in images)
    stack = np.stack(
        [image if grey else np.broadcast_to(np.atleast_3d(image), (*image.shape[:2], 3)) for image in images]
    )
    stack = stack[:, None] if grey else stack.transpose(0, 3, 1, 2)
    return (stack / 255).astype(np.float32)


def _image(pillow: Any, path: Path) -> Array:
    """[h, w] or [h, w, 3], uint8."""
    try:
        with pillow.open(path) as image:
            return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise UsageError(f"cannot read the image {path}: {error}; remove it or save it again") from error


def _size(image: Array) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
