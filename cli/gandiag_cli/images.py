"""Folders of images as a stream of batches: read one batch at a time, never resized, and what is done is said."""

from __future__ import annotations

import importlib
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gandiag.errors import MissingExtra, UsageError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"}

GREY = {"1": "L", "L": "L", "LA": "L"}
DEEP = {"I;16", "I;16L", "I;16B", "I;16N"}
"""Pillow's names for 16 bits of grey."""
UNREADABLE = {"I", "F"}
"""Pillow's names for 32 bits: there is no telling which value is white."""
ALPHA = {"LA", "PA", "La", "RGBA", "RGBa"}
CONVERTED = ("CMYK", "YCbCr", "LAB", "HSV")

BATCH = 2**22
"""Numbers in a batch, at most, but for a single image with more: 16 MiB of float32."""

ORIENTATION = 0x0112  # EXIF's tag; 1 is upright


class Header(NamedTuple):
    """What is known of an image before its pixels are read."""

    width: int
    height: int
    mode: str
    see_through: bool
    deep_colour: bool
    turned: bool
    frames: int


class ImageFolder:
    """The images of a folder and of the folders in it, by path.

    Iterating gives batches `[b, c, h, w]`, float32 in 0..1; c is 1 if all images are grey, else 3.

    Args:
        folder: where they lie; files and folders whose names begin with a dot are passed over.

    Attributes:
        files: the images, sorted.
        notes: what was done to them, in sentences.

    Raises:
        UsageError: no images, images of several sizes, or one that cannot be read.
        MissingExtra: Pillow is not installed.
    """

    def __init__(self, folder: Path) -> None:
        found = sorted(path for path in folder.rglob("*") if path.is_file() and not _hidden(path, folder))
        self.files = [path for path in found if path.suffix.lower() in SUFFIXES]
        if not self.files:
            raise UsageError(
                f"{folder} holds no images ({', '.join(sorted(SUFFIXES))}); give another folder or an array file"
            )
        self._pillow = _pillow()
        headers = [self._header(path) for path in self.files]
        first = headers[0]
        for path, header in zip(self.files, headers, strict=True):
            if (header.width, header.height) != (first.width, first.height):
                raise UsageError(
                    f"{path} is {header.width} x {header.height} and {self.files[0]} is {first.width} x "
                    f"{first.height}: resize all images to one size, with the same method for real and fake (it "
                    "changes the metrics)"
                )
        self._grey = all(header.mode in GREY or header.mode in DEEP for header in headers)
        self._batch = max(1, BATCH // (first.width * first.height * (1 if self._grey else 3)))
        self.notes = _notes(headers, grey=self._grey, others=len(found) - len(self.files))

    def note_order(self) -> None:
        """Add a note on the order of the images, for labels that are counted along."""
        some = ", ".join(path.name for path in self.files[:3])
        self.notes.append(f"labels were counted along the images sorted by path: {some}, ...")

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(self.files), self._batch):
            yield np.stack([self._image(path) for path in self.files[start : start + self._batch]])

    def _header(self, path: Path) -> Header:
        with self._opened(path) as image:
            if image.mode in UNREADABLE:
                raise UsageError(
                    f"{path} has 32 bits a pixel, and which value is white is not known; save such images as one "
                    ".npy array"
                )
            return Header(
                width=image.width,
                height=image.height,
                mode=image.mode,
                see_through=image.mode not in ALPHA and "transparency" in image.info,
                deep_colour=image.mode not in DEEP and ";16" in str(image.tile),
                turned=image.format in ("JPEG", "MPO") and image.getexif().get(ORIENTATION, 1) != 1,
                frames=getattr(image, "n_frames", 1),
            )

    def _image(self, path: Path) -> NDArray[np.float32]:
        """[c, h, w]."""
        with self._opened(path) as image:
            if image.mode in DEEP:
                pixels = np.asarray(image).astype(np.float32) / 65535
            else:
                pixels = np.asarray(image.convert(GREY.get(image.mode, "RGB"))).astype(np.float32) / 255
        if pixels.ndim == 3:
            return np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return np.repeat(pixels[None], 1 if self._grey else 3, axis=0)

    def _opened(self, path: Path) -> Any:
        return _Opened(self._pillow, path)


class _Opened:
    """An image for the time of a context, in which whatever goes wrong is one message."""

    def __init__(self, pillow: Any, path: Path) -> None:
        self._path = path
        # Of what Pillow raises for damaged files, `UnidentifiedImageError` and truncation are OSErrors.
        self._errors = (OSError, ValueError, SyntaxError, EOFError, struct.error, pillow.DecompressionBombError)
        try:
            self._image = pillow.open(path)
        except self._errors as error:
            raise self._unreadable(error) from error

    def __enter__(self) -> Any:
        return self._image

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._image.close()
        if isinstance(error, self._errors) and not isinstance(error, UsageError):
            raise self._unreadable(error) from error

    def _unreadable(self, error: BaseException) -> UsageError:
        return UsageError(f"cannot read the image {self._path}: {error}; remove it or save it again")


def _notes(headers: list[Header], *, grey: bool, others: int) -> list[str]:
    """What is done to images with such headers, in sentences."""
    count = len(headers)
    modes = Counter(header.mode for header in headers)
    deep = sum(modes[mode] for mode in DEEP)
    greys = deep + sum(modes[mode] for mode in GREY)
    kinds = "grey images, read as one channel" if grey else "images in colour"
    notes = (
        [f"8-bit {kinds}, were divided by 255" if grey else f"8-bit {kinds} were divided by 255"]
        if deep < count
        else []
    )
    said = [
        (deep, f"{'grey ' if grey else ''}images of 16 bits were divided by 65535"),
        (0 if grey else greys, "images are grey and were repeated in three channels, as others are in colour"),
        (sum(modes[mode] for mode in ALPHA), "images have an alpha channel, which was left out"),
        (sum(header.see_through for header in headers), "images have a transparent colour, read as any other"),
        (modes["P"] + modes["PA"], "images have a palette and were read as RGB"),
        *((modes[mode], f"{mode} images were converted to RGB") for mode in CONVERTED),
        (sum(header.deep_colour for header in headers), "images have 16 bits a colour, of which 8 were read"),
        (sum(header.turned for header in headers), "images have an EXIF orientation, which was not applied"),
        (sum(header.frames > 1 for header in headers), "images have several frames, of which the first was read"),
    ]
    notes += [f"{number:,} of {count:,} {what}" for number, what in said if number]
    if others:
        notes.append(f"{others:,} other files in the folder are no images and were left out")
    return notes


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _pillow() -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise MissingExtra("reading image folders needs Pillow: pip install pillow") from error
