"""`fit`: one embedder for both sides, which says what it does and refuses what does not belong together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gandiag.embed import base, embed, fit
from gandiag.errors import ShapeError, UnknownName, UsageError


def samples(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("name", ["identity", "random_projection", "random_convolution", "pca"])
@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_batches_change_no_feature(name: str, size: int) -> None:
    """However many samples are embedded at a time, up to the rounding of float32, and from no global stream."""
    x = samples(100, 3, 12, 13)
    state = torch.get_rng_state()
    embedding = fit(x, embedder=name)
    found = embedding(x.requires_grad_(), batch=size)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    torch.testing.assert_close(found, embedding(x), atol=1e-4, rtol=1e-4)
    assert torch.equal(torch.get_rng_state(), state)


def test_auto_is_the_choice_of_a_training_loop() -> None:
    """Snapshots and scores are taken in the same embedding, and it is said why."""
    for shape in ((9, 2), (9, 1, 8, 8), (9, 3, 40, 40)):
        x = samples(*shape)
        embedding = fit(x)
        features, name = embed(x)
        assert embedding.name == name
        assert torch.equal(embedding(x), features)
        assert "numbers" in embedding.reason
    assert fit(x, embedder="identity").reason == "it was asked for"


def test_batches_are_small_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of the user's never sees more than its share of the memory, and every sample once, in order."""
    seen: list[int] = []

    def mine(x: Tensor) -> Tensor:
        seen.append(len(x))
        return x.flatten(1)

    monkeypatch.setattr(base, "WORK", 64 * 12 * 5)
    x = samples(23, 3, 4)
    assert torch.equal(fit(x, embedder=mine)(x), x.flatten(1))
    assert seen == [2, 5, 5, 5, 5, 3]  # the first is the trial by `fit`
    seen.clear()
    assert torch.equal(embed(x, embedder=mine)[0], x.flatten(1))
    assert seen == [5, 5, 5, 5, 3]


def test_one_of_ones_own() -> None:
    """By "module:function" or as a function, with notes if it has any; its errors are its own."""
    x = samples(5, 4)
    assert fit(x, embedder="torch:neg").name == "torch:neg"

    class Mine:
        name = "mine"
        notes = ("it was halved",)

        def __call__(self, x: Tensor) -> Tensor:
            return (x / 2).double()

    embedding = fit(x, embedder=Mine())
    assert (embedding.name, embedding.notes) == ("mine", ("it was halved",))
    assert torch.equal(embedding(x), x / 2)
    with pytest.raises(UnknownName, match="Did you mean 'pca'"):
        fit(x, embedder="pcaa")
    with pytest.raises(ShapeError, match="expected"):
        fit(x, embedder=torch.sum)
    widths = iter([4, 3, 4])
    wavering = fit(x, embedder=lambda x: x[:, : next(widths)])
    with pytest.raises(ShapeError, match="how many samples it is given"):
        wavering(x, batch=3)


def test_samples_of_another_shape_are_refused_and_not_resized() -> None:
    """An embedder is for samples of one shape."""
    embedding = fit(samples(9, 3, 8, 8))
    for other in (samples(9, 3, 8, 9), samples(9, 192), samples(9)):
        with pytest.raises(ShapeError, match="resize or crop"):
            embedding(other)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (torch.zeros(0, 3), "at least one"),
        (torch.zeros(4, 0), "at least one"),
        (torch.tensor(1.0), "at least one"),
        (torch.zeros(4, 2, dtype=torch.complex64), "complex"),
        ([[1.0]], "tensor"),
    ],
)
def test_what_is_no_batch_is_refused(x: Tensor, says: str) -> None:
    """By `fit` and by what it makes."""
    with pytest.raises(ShapeError, match=says):
        fit(x)
    with pytest.raises(ShapeError, match=says):
        fit(samples(4, 3))(x)
    with pytest.raises(UsageError, match="batch"):
        fit(samples(4, 3))(samples(4, 3), batch=0)


def test_pixels_of_a_byte_beside_those_of_a_tanh_are_refused() -> None:
    """Both ways round, with both ranges and the cure; bytes beside floats of the same scale are fine."""
    pixels = torch.arange(192, dtype=torch.uint8).reshape(3, 1, 8, 8)
    for real, fake in ((pixels, samples(3, 1, 8, 8)), (samples(3, 1, 8, 8), pixels)):
        with pytest.raises(UsageError, match=r"uint8 from 0 to 191.*|.*are uint8 from 0 to 191") as caught:
            fit(real)(fake)
        assert "(x + 1) * 127.5" in str(caught.value)
    embedding = fit(pixels)
    assert embedding.cautions(pixels.float()) == ()
    assert embedding.notes == ("values, uint8 from 0 to 191, are read as float32",)
    assert torch.equal(embedding(pixels), embedding(pixels.float()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8])
@pytest.mark.parametrize("low", [0.0, -1.0])
def test_a_forgotten_scaling_is_refused_whatever_the_type(dtype: torch.dtype, low: float) -> None:
    """Images of 0 to 255 beside images of 0 to 1 or -1 to 1, and tables of whole numbers likewise, both ways round."""
    rng = torch.Generator().manual_seed(0)
    for shape in ((64, 1, 8, 8), (64, 3)):
        pixels = torch.randint(0, 256, shape, generator=rng).to(dtype)
        scaled = low + (1 - low) * torch.rand(shape, generator=rng)
        for real, fake in ((pixels, scaled), (scaled, pixels)):
            with pytest.raises(UsageError, match="not on one scale"):
                fit(real).cautions(fake)


def test_what_may_be_on_one_scale_is_measured() -> None:
    """Outputs that have died to 0, a batch of dark images, and columns of other numbers are no forgotten scaling."""
    pixels = torch.randint(0, 256, (64, 1, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    embedding = fit(pixels)
    assert embedding.cautions(torch.full((64, 1, 8, 8), 0.01))
    assert len(embedding(torch.ones(2, 1, 8, 8))) == 2
    assert fit(pixels[:, 0, 0] + 0.5).cautions(torch.rand(64, 8))


@pytest.mark.parametrize(
    ("low", "high", "suspicious"),
    [(-1, 1, False), (-1.2, 1.1, False), (-0.8, 0.8, False), (0, 1, True), (-2, 2, True), (0, 99, True), (5, 5, True)],
)
def test_other_ranges_are_said_with_both_and_embedded_all_the_same(low: float, high: float, suspicious: bool) -> None:
    """Beside data in [-1, 1]: an overshoot is no surprise; half the width, twice the width or another place is."""
    embedding = fit(torch.tensor([[-1.0], [1.0]]))
    fake = torch.tensor([[low], [high]], dtype=torch.float32)
    cautions = embedding.cautions(fake)
    assert len(cautions) == suspicious
    for caution in cautions:
        assert "from -1 to 1" in caution
        assert f"from {low} to {high}" in caution
    assert torch.equal(embedding(fake), fake)


def test_broken_samples_do_not_hide_the_range() -> None:
    """NaN and infinity are left to the metrics, which name the rows; the range is that of the others."""
    x = samples(50, 4)
    x[3, 1], x[7, 2] = torch.nan, torch.inf
    embedding = fit(x)
    assert embedding.cautions(samples(50, 4)) == ()
    assert embedding(x).isnan().sum() == 1
    assert fit(torch.full((4, 2), torch.nan)).cautions(samples(4, 2))


def test_tables_that_distances_cannot_see_are_said() -> None:
    """A column that outweighs the others, and one so far from 0 that float32 rounds its differences."""
    x = samples(200, 4).double()
    assert fit(x.float()).notes == ()
    wide, far = x.clone(), x.clone()
    wide[:, 2] *= 100
    far[:, 1] += 1e6
    assert "column 2 holds" in fit(wide.float()).notes[-1]
    assert "1 of 4 columns" in fit(far).notes[-1]
    assert len(fit(x).notes) == 1  # that float64 is read as float32


def test_the_device_is_the_samples_or_the_one_asked_for() -> None:
    """Where to embed can be said; features stay there."""
    x = samples(6, 3)
    assert fit(x, device="cpu")(x).device.type == "cpu"
    meta = fit(x, embedder=lambda x: x, device="meta")
    assert meta(x, batch=4).device.type == "meta"


def test_nothing_is_spent_by_what_learns_nothing() -> None:
    """`spent` is always there to be left out, and mostly empty."""
    assert fit(samples(9, 3)).spent.shape == (0,)
    assert fit(samples(9, 3)).spent.dtype == torch.int64


def test_the_notes_of_a_projection_say_what_is_lost() -> None:
    """Pooled by how much, what was cut off, what was folded, and that channels seem to come last."""
    pooled = fit(samples(2, 3, 65, 66)).notes
    assert (
        pooled[0] == "samples of 3 x 65 x 66 were average-pooled by 3; up to 2 at the far end of a side were left out"
    )
    assert "were projected to 512" in pooled[1]
    assert fit(samples(2, 9000)).notes[0] == "9,000 numbers a sample were folded to 3,072 by random signs and sums"
    assert "movedim" in fit(samples(2, 64, 64, 3)).notes[0]
