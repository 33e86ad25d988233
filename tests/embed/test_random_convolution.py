"""The random network: what it computes, which images it takes, what it is good for."""

import numpy as np
import pytest
import torch
from references.convolution import cells, halved, layer

from gandiag.embed import embed, fit
from gandiag.embed.random_convolution import _weights
from gandiag.errors import ShapeError


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(2, 1, 5, 7), (1, 3, 9, 8)])
def test_features_equal_a_convolution_pixel_by_pixel(shape: tuple[int, ...]) -> None:
    """Two layers, halved between them where the image is large enough, averaged over 4 x 4 cells."""
    x = images(*shape)
    features, _ = embed(x, embedder="random_convolution")
    first, second = (weight.numpy() for weight in _weights(shape[1], x.device))
    for row, image in zip(features, x.double().numpy(), strict=True):
        hidden = layer(image, first)
        hidden = halved(hidden) if min(shape[2:]) >= 8 else hidden
        np.testing.assert_allclose(row, cells(layer(hidden, second), 4).ravel(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 4, 70), (3, 33, 65), (7, 130, 9)])
def test_any_channels_and_sizes(shape: tuple[int, ...]) -> None:
    """Any number of channels and sides from 4 on give 512 numbers; that large ones are pooled is said."""
    x = images(5, *shape)
    embedding = fit(x, embedder="random_convolution")
    assert embedding(x).shape == (5, 512)
    assert ("average-pooled by 2" in embedding.notes[-1]) == (max(shape[1:]) > 64 and min(shape[1:]) >= 8)


def test_twice_the_contrast_gives_twice_the_features() -> None:
    """No biases: the unit of the pixels does not decide what is seen."""
    x = images(6, 3, 8, 8)
    one, two = embed(x, embedder="random_convolution")[0], embed(2 * x, embedder="random_convolution")[0]
    torch.testing.assert_close(2 * one, two)


def test_a_texture_is_known_wherever_it_lies() -> None:
    """Grain of another direction is farther away than other grain of the same one; for pixels both are as far."""
    grain = images(40, 1, 64, 64)
    across = grain + grain.roll(1, dims=3) + grain.roll(2, dims=3)
    down = across.transpose(2, 3)
    alike, unlike = [], []
    for x in (across, down):
        features, _ = embed(x, embedder="random_convolution")
        other, _ = embed(down if x is across else across, embedder="random_convolution")
        alike.append(torch.pdist(features).mean())
        unlike.append(torch.cdist(features, other).fill_diagonal_(torch.nan).nanmean())
    assert min(unlike) > 1.5 * max(alike)
    pixels = across.flatten(1)
    assert torch.cdist(pixels, down.flatten(1)).mean() < 1.1 * torch.pdist(pixels).mean()


@pytest.mark.parametrize(
    ("shape", "says"), [((5, 3, 3, 9), "at least 4 x 4"), ((5, 9), "identity"), ((5, 16, 16, 3), "movedim")]
)
def test_what_is_no_image_is_refused(shape: tuple[int, ...], says: str) -> None:
    """Rows, images of under four pixels and channels that come last raise ShapeError with a way out."""
    with pytest.raises(ShapeError, match=says):
        fit(torch.zeros(shape), embedder="random_convolution")
