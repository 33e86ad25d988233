"""Principal components: right, honest about the rows they come from, and refused where there is nothing to learn."""

import numpy as np
import pytest
import torch
from references.pca import principal as slow

from gandiag.embed import fit
from gandiag.embed.pca import principal
from gandiag.errors import ShapeError
from gandiag.metrics import prdc


def gaussian(n: int, d: int, *, seed: int = 0, offset: float = 0.0) -> torch.Tensor:
    spreads = torch.logspace(1, -1, d)
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * spreads + offset


@pytest.mark.parametrize(("n", "d"), [(60, 7), (20, 50), (9, 1), (8, 8)])
@pytest.mark.parametrize(("most", "share"), [(64, 0.99), (3, 1.0), (64, 0.5)])
def test_components_equal_the_textbook(n: int, d: int, most: int, share: float) -> None:
    """By columns or by rows, whichever is fewer: the components are those of the covariance matrix."""
    x = gaussian(n, d, offset=5.0)
    mean, components, held = principal(x, most=most, share=share)
    slow_mean, slow_components, slow_held = slow(x.numpy(), most, share)
    assert components.shape == slow_components.shape
    np.testing.assert_allclose(mean, slow_mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(components, slow_components, atol=1e-5)
    assert held == pytest.approx(slow_held, rel=1e-9)


@pytest.mark.parametrize("d", [12, 300])
def test_directions_without_variance_are_not_kept(d: int) -> None:
    """Data in a plane have two components, whatever is asked for, and a third is not made of rounding."""
    plane = gaussian(100, 2) @ torch.randn(2, d, generator=torch.Generator().manual_seed(1))
    assert len(principal(plane.double(), share=1.0)[1]) == 2


def test_features_are_the_centred_rows_along_the_components() -> None:
    """Distances along the components survive; the features' mean over the rows learned from is 0."""
    x = gaussian(400, 6, offset=1000.0).reshape(400, 2, 3)
    embedding = fit(x, embedder="pca")
    features = embedding(x)
    assert features[embedding.spent].mean(dim=0).abs().max() < 1e-3
    kept = slow(x[embedding.spent].flatten(1).numpy(), 64, 0.99)[1]
    expected = (x.flatten(1).double() - x[embedding.spent].flatten(1).double().mean(dim=0)) @ torch.from_numpy(kept).T
    torch.testing.assert_close(features.double(), expected, atol=2e-3, rtol=1e-3)


def test_two_fits_agree_to_the_bit_and_draw_from_no_global_stream() -> None:
    """The rows that are spent are drawn by a generator of its own, and signs are settled."""
    x = gaussian(300, 20)
    state = torch.get_rng_state()
    first, second = fit(x, embedder="pca"), fit(x, embedder="pca")
    assert torch.equal(first(x), second(x))
    assert torch.equal(first.spent, second.spent)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_fifth_is_spent_and_said() -> None:
    """Indices of a fifth of the rows, ascending and different; the note holds the numbers."""
    embedding = fit(gaussian(500, 20), embedder="pca")
    assert len(embedding.spent) == 100
    assert torch.equal(embedding.spent, embedding.spent.unique())
    assert embedding.spent.max() < 500
    assert "of 100 real samples" in embedding.notes[-1]


def test_fakes_look_shrunken_beside_the_rows_that_were_learned_from_and_beside_no_others() -> None:
    """In components of all reals, perfect fakes read many times the null's density; with the spent left out, the same.

    Over thirty draws: 10.9 over 1.0 the one way, 1.015 +- 0.02 over 1.005 the other.
    """
    excess, excess_of_all = [], []
    for seed in range(4):
        noise = torch.Generator().manual_seed(seed)
        real, fake = torch.randn(1600, 256, generator=noise), torch.randn(600, 256, generator=noise)
        embedding = fit(real, embedder="pca")
        kept = torch.ones(len(real), dtype=torch.bool).index_fill_(0, embedding.spent, False)
        excess.append(density_over_null(embedding(real)[kept], embedding(fake)))
        mean, components, _ = principal(real)
        excess_of_all.append(density_over_null((real - mean) @ components.T, (fake - mean) @ components.T))
    assert np.mean(excess) == pytest.approx(1.0, abs=0.2)
    assert min(excess_of_all) > 5


def density_over_null(real: torch.Tensor, fake: torch.Tensor) -> float:
    reference, held_out = real[:1200].split(600)
    return prdc(real=reference, fake=fake).density / prdc(real=reference, fake=held_out).density


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (torch.randn(63, 4), "64 real samples"),
        (torch.ones(100, 4), "are the same"),
        (torch.full((100, 4), torch.nan), "NaN or infinity"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(x: torch.Tensor, says: str) -> None:
    """Too few rows, equal rows and broken rows raise ShapeError."""
    with pytest.raises(ShapeError, match=says):
        fit(x, embedder="pca")
