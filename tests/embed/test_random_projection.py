import pytest
import torch

from gandiag.embed import embed


@pytest.mark.parametrize("width", [2000, 20_000])
def test_distances_survive_the_projection(width: int) -> None:
    """Johnson & Lindenstrauss: distances between some points change by a few per cent, also where rows are folded."""
    x = torch.randn(20, width, generator=torch.Generator().manual_seed(0))
    features, _ = embed(x, embedder="random_projection")
    ratio = torch.pdist(features) / torch.pdist(x)
    assert features.shape == (20, 512)
    assert (ratio - 1).abs().max() < 0.2


def test_images_are_pooled_so_that_a_shift_of_a_pixel_stays_near() -> None:
    """A large image is averaged first: neighbours in the picture count as alike."""
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).repeat_interleave(16, 2)
    image = image.repeat_interleave(16, 3)
    other = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    rows, _ = embed(torch.cat([image, image.roll(1, dims=3), other]), embedder="random_projection")
    assert (rows[0] - rows[1]).norm() < 0.5 * (rows[0] - rows[2]).norm()
