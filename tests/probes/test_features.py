"""Statistics of D's penultimate layer, held against eigenvalues, all pairs, and counting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import Loop
from references.recording import dead_share, mean_similarity, participation_ratio
from torch import nn

from gandiag.probes._penultimate import watch_penultimate
from gandiag.probes.features import feature_statistics, participation, similarity


def centred(x: torch.Tensor) -> torch.Tensor:
    return x - x.mean(dim=0)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (20, 20)])
def test_participation_ratio_equals_that_of_the_eigenvalues(shape: tuple[int, int]) -> None:
    """By traces alone, for more rows than features and for fewer."""
    x = torch.randn(shape, dtype=torch.float64) * torch.linspace(0.1, 3, shape[1], dtype=torch.float64) + 5
    assert float(participation(centred(x))) == pytest.approx(participation_ratio(x), rel=1e-9)


def test_participation_ratio_counts_directions() -> None:
    """Three equal directions make 3, one makes 1, and equal rows make 0."""
    three = torch.zeros(60, 9)
    three[range(60), [i % 3 for i in range(60)]] = torch.tensor([1.0, -1.0] * 30).roll(0)
    assert float(participation(centred(torch.eye(4).repeat(5, 1)))) == pytest.approx(3.0)  # one of 4 is the mean's
    assert float(participation(centred(torch.arange(10.0)[:, None] * torch.ones(1, 5)))) == pytest.approx(1.0)
    assert float(participation(centred(torch.ones(10, 5)))) == 0.0


def test_similarity_equals_the_mean_over_all_pairs() -> None:
    """By one sum instead of n * (n - 1) / 2 products."""
    x = torch.randn(15, 6, dtype=torch.float64) + 0.5
    assert float(similarity(x)) == pytest.approx(mean_similarity(x), rel=1e-9)
    assert float(similarity(torch.ones(8, 3))) == pytest.approx(1.0)


def test_every_column_equals_its_definition() -> None:
    """Gaps of mean and of variance, and the share of features that hold one value over both batches."""
    real, fake = torch.randn(30, 5), 2 * torch.randn(20, 5) + 1
    real[:, 2], fake[:, 2] = 0.0, 0.0
    real[:, 3], fake[:, 3] = 1.0, 2.0  # constant in each, not over both
    found = {name: float(value) for name, value in feature_statistics(real=real, fake=fake).items()}
    scale = float((real**2).mean().sqrt())
    floor = 1e-8 * scale**2
    gaps = [float(real[:, j].mean() - fake[:, j].mean()) for j in range(5)]
    logs = [
        abs(
            np.log(float(real[:, j].var(unbiased=False)) + floor)
            - np.log(float(fake[:, j].var(unbiased=False)) + floor)
        )
        for j in range(5)
    ]
    assert found["features/mean_gap"] == pytest.approx(np.sqrt(np.mean(np.square(gaps))) / scale, rel=1e-5)
    assert found["features/variance_gap"] == pytest.approx(np.mean(logs), rel=1e-4)
    assert found["features/dead_share"] == pytest.approx(dead_share(torch.cat([real, fake]))) == pytest.approx(0.2)
    assert found["features/effective_rank_real"] == pytest.approx(participation_ratio(real), rel=1e-4)
    assert found["features/effective_rank_fake"] == pytest.approx(participation_ratio(fake), rel=1e-4)
    assert found["features/similarity_real"] == pytest.approx(mean_similarity(real), rel=1e-4, abs=1e-6)
    assert found["features/similarity_fake"] == pytest.approx(mean_similarity(fake), rel=1e-4)


def test_the_penultimate_layer_is_what_the_last_layer_with_weights_gets(record: Any) -> None:
    """Found without names, also where a sigmoid follows; in iterations 1, 11, 21, and NaN elsewhere."""
    expected = []

    def before_d(*, real: torch.Tensor, fake: torch.Tensor, **_: Any) -> None:
        features = [nn.Sequential(*loop.d[:2])(x).detach() for x in (real, fake)]  # type: ignore[index]
        expected.append(feature_statistics(real=features[0], fake=features[1]))

    loop = Loop(sigmoid=True, before_d=before_d)
    columns, _ = record(loop, 25)
    for name in expected[0]:
        assert np.flatnonzero(~np.isnan(columns[name])).tolist() == [0, 10, 20]
        np.testing.assert_allclose(
            columns[name][[0, 10, 20]], [float(expected[i][name]) for i in (0, 10, 20)], rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("norm", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
def test_layers_whose_weights_are_made_of_others_count(norm: Any) -> None:
    """Where each layer of D is spectral-normed, in either style, the last one's input is still found."""
    net = nn.Sequential(norm(nn.Linear(3, 5)), nn.ReLU(), norm(nn.Linear(5, 1))).eval()
    kept: list[torch.Tensor] = []
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    end = watch_penultimate(net, kept.append)
    net(x)
    end()
    torch.testing.assert_close(kept, [net[:2](x).detach()])


def test_a_layer_of_a_techniques_own_is_not_ds_last() -> None:
    """Minibatch discrimination runs a linear layer of its own beside D's last one: what that is given is no feature."""
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    beside = nn.Linear(1, 1)
    kept: list[torch.Tensor] = []
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    end = watch_penultimate(net, kept.append)
    beside(net(x))
    end()
    torch.testing.assert_close(kept, [net[:2](x).detach()])


def test_a_batch_of_one_is_measured_without_an_error(record: Any) -> None:
    """Nothing can be said of the spread of one row; the columns are numbers all the same, and nobody raises."""
    columns, _ = record(Loop(batch=1), 2)
    assert columns["features/effective_rank_real"][0] == 0
