"""Samples and labels from files: arrays and folders of images."""

from __future__ import annotations

import importlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from gandiag.errors import MissingExtra, UsageError
from gandiag_cli import images
from gandiag_cli.images import ImageFolder
from gandiag_cli.samples import load_labels, load_samples


def test_files_of_every_kind_hold_the_same_samples(tmp_path: Path) -> None:
    """NumPy files, archives with one array or a named one, and safetensors with half precision."""
    array = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    np.save(tmp_path / "real.npy", array)
    np.savez(tmp_path / "one.npz", samples=array)
    np.savez(tmp_path / "two.npz", samples=array, other=array[:3])
    save_file({"x": torch.from_numpy(array).to(torch.bfloat16)}, tmp_path / "x.safetensors")
    for text in ("real.npy", "one.npz", "two.npz:samples"):
        assert np.array_equal(load_samples(str(tmp_path / text)), array)
    assert np.allclose(load_samples(str(tmp_path / "x.safetensors")).float(), array, rtol=0.01)
    with pytest.raises(UsageError, match=r"other, samples. Name one of them as .*two\.npz:NAME"):
        load_samples(str(tmp_path / "two.npz"))


def test_an_npy_file_is_mapped_and_not_read(tmp_path: Path) -> None:
    """An array larger than the memory can be scored: nothing is read before it is looked at."""
    np.save(tmp_path / "x.npy", np.zeros((10, 2)))
    assert isinstance(load_samples(str(tmp_path / "x.npy")), np.memmap)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """An array of objects could run code when it is loaded: it is refused, in archives, too."""
    evil = np.array([{"a": 1}], dtype=object)
    np.save(tmp_path / "evil.npy", evil, allow_pickle=True)
    np.savez(tmp_path / "evil.npz", evil=evil)
    for name in ("evil.npy", "evil.npz"):
        with pytest.raises(UsageError, match="without pickled objects"):
            load_samples(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "content", "cure"),
    [
        ("missing.npy", None, "does not exist"),
        ("missing", None, "does not exist"),
        ("torn.npy", b"\x93NUMPY", "save it again"),
        ("torn.npz", b"PK", "save it again"),
        ("torn.safetensors", b"\xff" * 20, "save it again"),
        ("weights.pt", b"x", "expected .npy"),
    ],
)
def test_what_can_not_be_read_says_what_to_do(tmp_path: Path, name: str, content: bytes | None, cure: str) -> None:
    """Missing, torn and foreign files are one message each."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=cure):
        load_samples(str(tmp_path / name))


def test_samples_and_labels_must_be_numbers(tmp_path: Path) -> None:
    """Text is no sample, and a fraction no label."""
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    np.save(tmp_path / "fractions.npy", np.array([0.5, 1.5]))
    (tmp_path / "labels.txt").write_text("label\n0\n1\n")
    with pytest.raises(UsageError, match="one sample a row"):
        load_samples(str(tmp_path / "text.npy"))
    with pytest.raises(UsageError, match="one whole number"):
        load_labels(str(tmp_path / "fractions.npy"))
    with pytest.raises(UsageError, match=r"'label' is no whole number, and others are; .* without a header"):
        load_labels(str(tmp_path / "labels.txt"))
    with pytest.raises(UsageError, match="one class a line"):
        load_labels(str(tmp_path / "absent.txt"))


def test_labels_come_from_arrays_and_from_text(tmp_path: Path) -> None:
    """An array file, a named array of one, or a number or a name a line."""
    np.savez(tmp_path / "all.npz", y=np.array([3, 1], dtype=np.uint8), x=np.zeros(2))
    (tmp_path / "labels.txt").write_text("3\n1\n")
    for name in ("all.npz:y", "labels.txt"):
        labels = load_labels(str(tmp_path / name))
        assert labels.tolist() == [3, 1]
    (tmp_path / "names.txt").write_text("tabby cat\ndog\n\n")
    assert load_labels(str(tmp_path / "names.txt")).tolist() == ["tabby cat", "dog"]


def read(folder: Path) -> np.ndarray:
    return np.concatenate(list(ImageFolder(folder)))


def test_a_folder_of_digits_is_the_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grey PNG files come back in the order of their paths, a batch at a time, divided by 255."""
    digits = np.round(load_digits().images[:20] / 16 * 255).astype(np.uint8)
    for index, digit in enumerate(digits):
        (tmp_path / str(index // 10)).mkdir(exist_ok=True)
        Image.fromarray(digit).save(tmp_path / str(index // 10) / f"{index:02d}.png")
    monkeypatch.setattr(images, "BATCH", 64 * 8)
    folder = ImageFolder(tmp_path)
    batches = list(folder)
    assert [len(batch) for batch in batches] == [8, 8, 4]
    assert len(folder) == 20
    assert np.array_equal(np.concatenate(batches), (digits[:, None] / np.float32(255)).astype(np.float32))
    assert folder.notes == ["8-bit grey images, read as one channel, were divided by 255"]


def test_grey_among_colour_becomes_colour(tmp_path: Path) -> None:
    """Three channels as soon as one image has them, and it is said of how many that is not their own."""
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((4, 6, 3), dtype=np.uint8)).save(tmp_path / "b.jpg")
    assert read(tmp_path).shape == (2, 3, 4, 6)
    assert np.array_equal(read(tmp_path)[0], np.repeat((grey / np.float32(255))[None], 3, axis=0))
    assert ImageFolder(tmp_path).notes == [
        "8-bit images in colour were divided by 255",
        "1 of 2 images are grey and were repeated in three channels, as others are in colour",
    ]


def rgb16(width: int, height: int) -> bytes:
    """A PNG with 16 bits a colour, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x80\0" * 3 * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_transparent_colours_and_other_colour_spaces_are_said(tmp_path: Path) -> None:
    """A colour of a palette may be see-through, and colours may be no RGB: both are read, and told."""
    colours = Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8))
    colours.quantize(4).save(tmp_path / "palette.png", transparency=1)
    colours.convert("YCbCr").save(tmp_path / "ycbcr.tif")
    assert read(tmp_path).shape == (2, 3, 4, 6)
    said = " ".join(ImageFolder(tmp_path).notes)
    assert "1 of 2 images have a transparent colour, read as any other" in said
    assert "1 of 2 YCbCr images were converted to RGB" in said


def test_whatever_is_done_to_an_image_is_said(tmp_path: Path) -> None:
    """Alpha, palettes, 16 bits, several frames, an orientation, CMYK: read as told, and never in silence."""
    rng = np.random.default_rng(0)

    def pixels(*shape: int, dtype: type = np.uint8) -> Image.Image:
        return Image.fromarray(rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype))

    turned = Image.Exif()
    turned[0x0112] = 6
    pixels(4, 6, 4).save(tmp_path / "alpha.png")
    pixels(4, 6, 3).quantize(4).save(tmp_path / "palette.png")
    pixels(4, 6, 3).convert("CMYK").save(tmp_path / "cmyk.jpg")
    pixels(4, 6, 3).save(tmp_path / "turned.jpg", exif=turned)
    pixels(4, 6).save(tmp_path / "frames.gif", save_all=True, append_images=[pixels(4, 6)])
    pixels(4, 6, dtype=np.uint16).save(tmp_path / "deep.png")
    (tmp_path / "deep_colour.png").write_bytes(rgb16(6, 4))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    found = read(tmp_path)
    assert found.shape == (7, 3, 4, 6)
    assert found.dtype == np.float32
    assert 0 <= found.min() <= found.max() <= 1
    said = " ".join(ImageFolder(tmp_path).notes)
    for part in (
        "1 of 7 images of 16 bits were divided by 65535",
        "1 of 7 images have an alpha channel, which was left out",
        "images have a palette and were read as RGB",
        "1 of 7 CMYK images were converted to RGB",
        "1 of 7 images have 16 bits a colour, of which 8 were read",
        "1 of 7 images have an EXIF orientation, which was not applied",
        "1 of 7 images have several frames, of which the first was read",
        "1 other files in the folder are no images and were left out",
    ):
        assert part in said


def test_sixteen_bits_of_grey_are_all_read(tmp_path: Path) -> None:
    """Neighbouring values of 65,536 stay apart."""
    Image.fromarray(np.array([[1000, 1001], [0, 65535]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert np.allclose(read(tmp_path)[0, 0] * 65535, [[1000, 1001], [0, 65535]], atol=0.01)
    assert ImageFolder(tmp_path).notes == ["1 of 1 grey images of 16 bits were divided by 65535"]


def test_images_are_never_resized(tmp_path: Path) -> None:
    """Two sizes in one folder are refused, with both files and what to do."""
    for name, size in (("a.png", (4, 6)), ("b.png", (5, 6))):
        Image.fromarray(np.zeros(size, dtype=np.uint8)).save(tmp_path / name)
    with pytest.raises(UsageError, match=r"b\.png is 6 x 5 and .*a\.png is 6 x 4: resize all images to one size"):
        ImageFolder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image", rgb16(6, 4)[:20]])
def test_an_image_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    """Foreign bytes under the name of an image are one message."""
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot read the image .*a\.png.*remove it or save it again"):
        ImageFolder(tmp_path)


def test_a_torn_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    """A file that ends in the middle of its pixels has a good header, and still is one message."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    folder = ImageFolder(tmp_path)
    with pytest.raises(UsageError, match=r"cannot read the image .*a\.png"):
        list(folder)


def test_images_without_a_known_white_are_refused(tmp_path: Path) -> None:
    """Pixels of 32 bits have no range that could be divided by."""
    Image.fromarray(np.zeros((4, 6), dtype=np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(UsageError, match=r"save such images as one \.npy array"):
        ImageFolder(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """A folder without images says which files would be."""
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UsageError, match="holds no images"):
        load_samples(str(tmp_path))


def test_without_pillow_the_line_that_installs_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays need no Pillow, folders of images do."""

    def missing(name: str) -> None:
        raise ImportError(name)

    (tmp_path / "a.png").write_bytes(b"")
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match="pip install pillow"):
        load_samples(str(tmp_path))
