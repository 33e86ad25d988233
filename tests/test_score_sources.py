"""What users hand over as samples, block by block."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from gandiag.embed import fit
from gandiag.errors import ShapeError
from gandiag.score import gather as gathering
from gandiag.score import sources
from gandiag.score.gather import gather, thumbnails
from gandiag.score.sources import Source, is_stream


def quiet(done: int, total: int | None, what: str) -> None:
    pass


def joined(source: Source) -> np.ndarray:
    return torch.cat([block.samples for block in source]).numpy()


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "uint16", "int32", "uint32", "uint64", ">i2", "float16", ">f4", "float64"]
)
def test_numbers_of_every_kind_keep_their_values(dtype: str) -> None:
    """Types that torch does not compute with become ones that hold the same values."""
    array = (np.arange(12).reshape(4, 3) % 2 if dtype == "bool" else np.arange(12).reshape(4, 3)).astype(dtype)
    assert np.array_equal(joined(Source(array, "real")), array.astype(np.float64))


def test_memory_maps_and_views_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file on disk and a reversed view give all samples, in order, some at a time."""
    array = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", array)
    monkeypatch.setattr(sources, "BLOCK", 12)
    blocks = list(Source(np.load(tmp_path / "x.npy", mmap_mode="r"), "real"))
    assert [block.first for block in blocks] == [0, 4, 8]
    assert np.array_equal(torch.cat([block.samples for block in blocks]), array)
    assert np.array_equal(joined(Source(array[::-1], "real")), array[::-1])


def test_samples_to_fit_are_drawn_from_all_of_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays are often sorted: a random part is taken, in order, and its rows are named."""
    monkeypatch.setattr(sources, "FITTED_ROWS", 64)
    array = np.arange(1000.0)[:, None]
    some, rows = Source(torch.from_numpy(array), "real").some(seed=0)
    assert len(some) == 64
    assert np.array_equal(some[:, 0], rows)
    assert rows.max() > 900


def test_samples_to_fit_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of large samples fewer are taken, but 64 in any case."""
    monkeypatch.setattr(sources, "FITTED_BYTES", 4 * 100 * 80)
    assert len(Source(np.zeros((1000, 100)), "real").some(seed=0)[0]) == 80
    assert len(Source(np.zeros((1000, 1000)), "real").some(seed=0)[0]) == 64


def test_a_stream_is_read_once_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more batches are alive at a time than an embedder is fitted to, and then one or two."""
    monkeypatch.setattr(sources, "FITTED_ROWS", 64)
    alive: list[weakref.ref[torch.Tensor]] = []
    most = []

    def batches() -> Iterator[torch.Tensor]:
        for number in range(40):
            batch = torch.randn(16, 3, generator=torch.Generator().manual_seed(number))
            alive.append(weakref.ref(batch))
            yield batch
            most.append(sum(reference() is not None for reference in alive))

    source = Source(batches(), "real")
    some, rows = source.some(seed=0)
    assert len(some) == len(rows) == 64
    embedding = fit(some)
    found = gather(source, embedding, name="real", progress=quiet)
    assert found.total == 640
    assert torch.equal(found.rows[:64], some)
    assert max(most[10:]) <= 3


def test_what_is_a_stream() -> None:
    """Tensors, arrays and nested lists are samples; lists of tensors, generators and loaders are batches."""
    x = torch.zeros(2, 3)
    assert not any(is_stream(samples) for samples in (x, x.numpy(), [[1, 2], [3, 4]], [1, 2], [], "abc", 3))
    assert all(is_stream(samples) for samples in ([x], [(x, 1)], iter([x]), (batch for batch in [x]), (x, x)))


@pytest.mark.parametrize("dtype", ["bool", "uint16", "uint32", "uint64", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_tensors_of_every_kind_keep_their_values(dtype: str) -> None:
    """Types that torch stores and does not compute with, as .safetensors files hold them, can be scored."""
    values = torch.arange(240).reshape(80, 3) % (2 if dtype == "bool" else 4)
    source = Source(values.to(getattr(torch, dtype)), "real")
    assert np.array_equal(source.some(seed=0)[0].double(), values.double())
    assert np.array_equal(joined(source).astype(np.float64), values) if dtype != "bfloat16" else True
    assert Source(torch.full((4, 1), 2**63, dtype=torch.uint64), "real").some(seed=0)[0][0, 0] == 2.0**63


@pytest.mark.parametrize("channels", [1, 3])
def test_single_images_are_not_read_as_batches(channels: int) -> None:
    """A list or a stream of images [c, h, w] is refused, and told how to stack them; batches of grey ones are read."""
    images = [torch.rand(channels, 8, 8) for _ in range(100)]
    for several in (images, iter(images), [(image, 0) for image in images]):
        with pytest.raises(ShapeError, match=r"torch\.stack"):
            Source(several, "fake").some(seed=0)
    assert Source([torch.rand(8, 8, 8)] * 8, "fake").some(seed=0)[0].shape == (64, 8, 8)
    assert Source([torch.rand(channels, 8)] * 8, "fake").some(seed=0)[0].shape == (8 * channels, 8)


def test_batches_without_samples_are_passed_over() -> None:
    """A filter may leave a batch empty, the last one say; a stream of nothing else is still refused."""
    batches = [torch.zeros(0, 3), torch.ones(5, 3), (torch.zeros(0, 3), torch.zeros(0)), np.ones((4, 3))]
    assert joined(Source(batches, "real")).shape == (9, 3)
    with pytest.raises(ShapeError, match="no samples"):
        Source([torch.zeros(0, 3)], "real").some(seed=0)


def test_notes_of_a_source_are_heard() -> None:
    """An iterable may say what it did to its samples, in one sentence or several."""

    class Halved(list):
        notes = "every value was halved"

    assert Source(Halved([torch.zeros(2, 3)]), "real").notes == ("every value was halved",)


def test_pictures_are_small_and_scaled_alike() -> None:
    """Images of any layout become uint8 [n, h, w, c]; what is no image becomes none."""
    x = torch.linspace(0, 1, 2 * 3 * 100 * 50).reshape(2, 3, 100, 50)
    pictures = thumbnails(x, low=0.0, high=2.0)
    assert pictures.shape == (2, 33, 16, 3)
    assert pictures.max() <= 128
    assert thumbnails(x.movedim(1, 3), low=0.0, high=2.0).shape == (2, 33, 16, 3)
    assert thumbnails(torch.zeros(2, 8, 8), low=0.0, high=1.0).shape == (2, 8, 8, 1)
    assert thumbnails(torch.zeros(2, 7), low=0.0, high=1.0) is None
    assert thumbnails(torch.zeros(2, 5, 8, 8), low=0.0, high=1.0) is None


def test_pictures_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first samples are pictured where all would be too many; each is of the row with its number."""
    monkeypatch.setattr(gathering, "PICTURE_BYTES", 64 * 25)
    x = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x[3] = torch.nan
    found = gather(Source(list(x.split(10)), "real"), fit(x[5:]), name="real", progress=quiet)
    assert found.broken == (3,)
    assert len(found.pictures) == 25
    assert np.array_equal(
        found.pictures[10, :, :, 0], thumbnails(x[11:12], low=x[5:].min(), high=x[5:].max())[0, :, :, 0]
    )
    rest = found.without(torch.tensor([0, 11]))
    assert len(rest.rows) == 97
    assert np.array_equal(rest.pictures[9], found.pictures[11])


def test_a_few_broken_samples_may_be_left_out() -> None:
    """Up to a half is left out; with more the rest is no fair sample."""
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    embedding = fit(x)
    x[:10] = torch.inf
    assert gather(Source(x, "fake"), embedding, name="fake", progress=quiet).broken == tuple(range(10))
    x[10] = torch.nan
    with pytest.raises(
        ShapeError, match=r"11 of 20 fake samples hold NaN or infinity, such as samples 0, 1, .* 3 more"
    ):
        gather(Source(x, "fake"), embedding, name="fake", progress=quiet)
