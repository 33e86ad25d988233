"""Bins that differ: none between data and data, and the right ones where modes are gone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.mixtures import mixture, ring
from references.modes import adjusted_p

from gandiag.errors import ShapeError, UsageError
from gandiag.metrics import METRICS
from gandiag.metrics._tiles import Rows
from gandiag.metrics.ndb import _k_means, ndb


def rows(x) -> Rows:
    x = torch.as_tensor(x, dtype=torch.float64)
    return Rows.of(x, centre=torch.zeros(x.shape[1], dtype=torch.float64), dtype=torch.float64)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bins=st.integers(2, 6))
def test_it_equals_the_definition(seed, bins):
    """Each row is counted at its nearest centre, and shares and p are those of the counts."""
    rng = np.random.default_rng(seed)
    real, held_out, fake = rng.normal(size=(30, 2)), rng.normal(size=(25, 2)), 1.5 * rng.normal(size=(20, 2))
    found = ndb(real=real, held_out=held_out, fake=fake, bins=bins, seed=seed)
    centre = torch.from_numpy(real).mean(dim=0)
    made = Rows.of(torch.from_numpy(real), centre=centre, dtype=torch.float64)
    centres = (_k_means(made, bins, np.random.default_rng(seed)).x + centre).numpy()

    def counts(x):
        nearest = [int(np.argmin([np.linalg.norm(row - centre) for centre in centres])) for row in x]
        return [nearest.count(index) for index in range(bins)]

    assert found.real_shares.tolist() == pytest.approx([count / 25 for count in counts(held_out)])
    assert found.fake_shares.tolist() == pytest.approx([count / 20 for count in counts(fake)])
    np.testing.assert_allclose(found.p_adjusted, adjusted_p(counts(held_out), counts(fake), 20), rtol=1e-6)
    assert found.count == found.differs.sum() == round(found.share * bins)


def test_centres_are_the_means_of_their_rows():
    """Where k-means stops, each centre is the mean of the rows that are nearest to it."""
    x = ring(800)[0].astype(np.float64)
    centres = _k_means(rows(x), 8, np.random.default_rng(0)).x.numpy()
    nearest = np.linalg.norm(x[:, None] - centres[None], axis=2).argmin(axis=1)
    for index in range(8):
        np.testing.assert_allclose(centres[index], x[nearest == index].mean(axis=0), atol=1e-9)


def test_copies_are_binned_too():
    """Fewer different rows than bins leave bins empty, and nothing fails."""
    found = ndb(real=np.ones((30, 3)), held_out=np.ones((30, 3)), fake=np.ones((30, 3)), bins=4)
    assert (found.count, found.bins) == (0, 4)


@pytest.mark.parametrize("d", [2, 64, 512])
def test_data_against_data_raise_no_alarm(d):
    """Over 40 draws at most 5 % have any bin that differs between data and data."""
    alarms = 0
    for seed in range(40):
        x = mixture(750, d, seed=seed, std=0.05 if d == 2 else 0.5)[0]
        alarms += ndb(real=x[:250], held_out=x[250:500], fake=x[500:], seed=seed).count > 0
    assert alarms <= 2


def test_bins_that_were_made_from_the_counted_rows_do():
    """The reason for holding rows out: with the paper's way at d = 512 a fifth of the bins differ for no reason."""
    x = mixture(6000, 512)[0]
    real, held_out, fake = x[:2000], x[2000:4000], x[4000:]
    assert ndb(real=real, held_out=real, fake=fake, bins=100).count >= 20
    assert ndb(real=real, held_out=held_out, fake=fake, bins=100).count == 0


@pytest.mark.parametrize("d", [2, 64, 512])
def test_missing_modes_make_bins_differ(d):
    """With ten of 25 modes gone at n = 500 a quarter of the bins differ at least, the emptied ones among them."""
    std = 0.05 if d == 2 else 0.5
    x = mixture(1000, d, std=std)[0]
    found = ndb(real=x[:500], held_out=x[500:], fake=mixture(500, d, seed=7, std=std, kept=15)[0])
    emptied = (found.fake_shares == 0) & (found.real_shares > 0.03)
    assert found.share >= 0.25
    assert emptied.any()
    assert found.differs[emptied].all()


def test_the_metric_splits_the_data_itself():
    """As a metric it makes its bins from half of real: 0 for other data, near 1 for one single output."""
    real, fake = mixture(1000, 16)[0], mixture(500, 16, seed=1)[0]
    assert METRICS["ndb"](real=real, fake=fake) == 0
    assert METRICS["ndb"](real=real, fake=fake[:1].repeat(500, axis=0)) > 0.9


def test_what_does_not_fit_is_refused():
    """There must be two bins, and no fewer rows than bins."""
    x = np.zeros((10, 2))
    with pytest.raises(UsageError, match="at least 2"):
        ndb(real=x, held_out=x, fake=x, bins=1)
    with pytest.raises(ShapeError, match="at least 11"):
        ndb(real=x, held_out=x, fake=x, bins=11)
