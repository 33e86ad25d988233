"""Arrays from files: `.npy`, `.npz`, `.safetensors`. Nothing in them is executed or unpickled."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gandiag.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

Array: TypeAlias = "NDArray[Any] | Tensor"
Lazy: TypeAlias = "Mapping[str, Callable[[], Array]]"
"""Name of each array in a file to what reads it."""


_DAMAGED = (OSError, ValueError, EOFError, KeyError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error)
"""What NumPy lets through of a damaged file: its header is read as Python's own text, and its data are unpacked."""


def is_array_file(text: str) -> bool:
    """Whether a name is that of an array file, `FILE:NAME` included."""
    return split(text)[0].suffix.lower() in READERS


def load_array(text: str) -> Array:
    """One array of a file; of a `.npy` file no more is read than is looked at.

    Args:
        text: the file, or `FILE:NAME` where it holds several arrays.

    Raises:
        UsageError: there is no such file or array, or it cannot be read.
    """
    path, name = split(text)
    if not path.exists():
        raise UsageError(f"{path} does not exist; give an array file ({', '.join(READERS)}) or a folder of images")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path} is no array file: expected {', '.join(READERS)}, or a folder of images")
    try:
        arrays = reader(path)
        wanted = next(iter(arrays)) if name is None and len(arrays) == 1 else name
        if wanted is None or wanted not in arrays:
            known = ", ".join(sorted(arrays)) or "none"
            raise UsageError(f"{path} holds these arrays: {known}. Name one of them as {path}:NAME")
        return arrays[wanted]()
    except UsageError:
        raise
    except _DAMAGED as error:
        raise UsageError(
            f"cannot read {path}: {error}; save it again, as plain numbers without pickled objects"
        ) from error


def split(text: str) -> tuple[Path, str | None]:
    """`FILE:NAME` as file and name; a path that exists is taken as it is, colons and all."""
    path = Path(text)
    head, colon, name = text.rpartition(":")
    if path.exists() or not colon or not Path(head).is_file():
        return path, None
    return Path(head), name


def _npy(path: Path) -> Lazy:
    return {"array": partial(np.load, path, mmap_mode="r", allow_pickle=False)}


def _npz(path: Path) -> Lazy:
    archive = np.load(path, allow_pickle=False)
    return {name: partial(archive.__getitem__, name) for name in archive.files}


def _safetensors(path: Path) -> Lazy:
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework="pt")  # NumPy has no bfloat16, so as tensors
        names: list[str] = file.keys()  # type: ignore[no-untyped-call]
        return {name: partial(file.get_tensor, name) for name in names}
    except SafetensorError as error:
        raise ValueError(str(error)) from error


READERS: dict[str, Callable[[Path], Lazy]] = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors}
