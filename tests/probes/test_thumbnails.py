"""Small pictures of samples."""

from __future__ import annotations

import pytest
import torch

from gandiag.probes._thumbnails import thumbnails


def test_both_sides_are_scaled_by_the_real_range() -> None:
    """Black and white are the real samples' extremes; fakes beyond are cut, grey stays grey, NaN is black."""
    real = torch.stack([torch.full((1, 8, 8), -1.0), torch.full((1, 8, 8), 1.0)])
    fake = torch.stack([torch.full((1, 8, 8), v) for v in (0.0, 5.0, -5.0, float("nan"))])
    found = thumbnails(real=real, fake=fake)
    assert found["thumbs_real"][:, 0, 0, 0].tolist() == [0, 255]
    assert found["thumbs_fake"][:, 0, 0, 0].tolist() == [128, 255, 0, 0]
    assert found["thumbs_fake"].dtype == torch.uint8


@pytest.mark.parametrize(
    ("shape", "thumb"),
    [((3, 40, 40), (40, 40, 3)), ((1, 8, 8), (8, 8, 1)), ((8, 8), (8, 8, 1)), ((3, 128, 200), (32, 50, 3))],
)
def test_images_become_height_width_channels(shape: tuple[int, ...], thumb: tuple[int, ...]) -> None:
    """Channels last, at most 64 pixels a side, at most 64 pictures."""
    found = thumbnails(real=torch.rand(100, *shape), fake=torch.rand(70, *shape))
    assert found["thumbs_real"].shape == (64, *thumb)
    assert found["thumbs_fake"].shape == (64, *thumb)


@pytest.mark.parametrize("shape", [(2,), (1, 2, 2), (7, 8, 8), (4, 3, 8, 8)])
def test_what_is_no_image_has_no_picture(shape: tuple[int, ...]) -> None:
    """Points, tiny grids, feature maps and clips."""
    assert thumbnails(real=torch.rand(5, *shape), fake=torch.rand(5, *shape)) == {}


def test_sides_of_two_shapes_have_no_pictures() -> None:
    """Nothing is drawn where the two sides cannot be held side by side."""
    assert thumbnails(real=torch.rand(5, 1, 8, 8), fake=torch.rand(5, 1, 16, 16)) == {}
