"""The demos' data and the counting of modes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from gandiag.demo import data


def test_the_ring_has_eight_distinct_modes_on_one_circle() -> None:
    """No two centres coincide: `linspace(0, 2π, 8)` with its end point would leave seven."""
    modes = data.ring_modes()
    assert modes.shape == (8, 2)
    gaps = torch.pdist(modes)
    torch.testing.assert_close(gaps.min().item(), 2 * 5.0 * math.sin(math.pi / 8), rtol=1e-5, atol=0)
    torch.testing.assert_close(modes.norm(dim=1), torch.full((8,), 5.0))


def test_the_grid_has_twenty_five_distinct_modes_around_the_origin() -> None:
    """Neighbours are one spacing apart, and the grid is centred."""
    modes = data.grid_modes()
    assert modes.shape == (25, 2)
    assert torch.pdist(modes).min() == pytest.approx(2.5)
    assert modes.mean(dim=0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("modes", "std"), [(data.ring_modes(), data.RING_STD), (data.grid_modes(), data.GRID_STD)])
def test_the_data_themselves_pass_the_count_with_the_known_share(modes: torch.Tensor, std: float) -> None:
    """All modes, evenly; 1 - exp(-4.5) of a Gaussian in the plane lies within three standard deviations."""
    torch.manual_seed(0)
    counted = data.count_modes(data.sample_mixture(modes, std, 50_000), modes, std)
    assert counted["modes"] == counted["of"] == len(modes)
    assert counted["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert counted["smallest"] > 0.9
    assert counted["largest"] < 1.1
    assert counted["spread"] == pytest.approx(0.95, abs=0.03)


def test_a_point_on_three_modes_counts_three_and_has_no_spread() -> None:
    """Exact copies of three centres: three modes, all of high quality, nothing between the copies."""
    modes = data.ring_modes()
    counted = data.count_modes(modes[:3].repeat(100, 1), modes, 0.1)
    assert counted == {"modes": 3, "of": 8, "high_quality": 1.0, "smallest": 0.0, "largest": 2.67, "spread": 0.0}


def test_points_between_the_modes_count_for_none() -> None:
    """The middle of the ring is nearest to some mode, and belongs to none."""
    counted = data.count_modes(torch.zeros(50, 2), data.ring_modes(), 0.1)
    assert (counted["modes"], counted["high_quality"]) == (0, 0.0)


def test_digits_are_pictures_from_minus_one_to_one() -> None:
    """1,797 images of 8x8, all ten classes."""
    images, labels = data.digit_images()
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == (-1.0, 1.0)
    assert labels.unique().tolist() == list(range(10))


def test_the_reader_reads_single_and_stacked_digits() -> None:
    """Nearly all held-out digits are read right, and a stack is read channel by channel."""
    reader = data.DigitReader()
    assert reader.accuracy > 0.95
    images, labels = data.digit_images()
    assert (reader.read(images) == labels).float().mean() > 0.97
    stacked = images[:30].reshape(10, 3, 8, 8)
    assert torch.equal(reader.read(stacked), reader.read(images[:30]).reshape(10, 3))


def test_report_writes_nothing_unless_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line of JSON; with a folder also the samples and the same line, neither of them pickled."""
    data.report({"modes": 3}, torch.zeros(4, 2), None)
    assert json.loads(capsys.readouterr().out) == {"modes": 3}
    data.report({"modes": 3}, torch.zeros(4, 2), tmp_path / "new" / "folder")
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["evaluation.json", "samples.npy"]
