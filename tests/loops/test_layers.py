"""Which layers multiply by a matrix, told without running a parametrization."""

from __future__ import annotations

import pytest
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from gandiag.loop.layers import multiplies


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(3, 2),
        nn.Conv1d(3, 2, 3),
        nn.ConvTranspose2d(3, 2, 3),
        spectral_norm(nn.Linear(3, 2)),
        parametrizations.spectral_norm(nn.Conv2d(3, 2, 3)),
        parametrizations.weight_norm(nn.Linear(3, 2)),
        parametrizations.orthogonal(nn.Linear(3, 3)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_with_a_matrix(layer):
    """Linear layers and convolutions do, also where the weight is made of other parameters."""
    assert multiplies(layer)


@pytest.mark.parametrize(
    "layer", [nn.ReLU(), nn.BatchNorm1d(3), nn.LayerNorm(3), nn.Sequential(nn.Linear(3, 2)), nn.PReLU()]
)
def test_layers_without(layer):
    """Activations, norms and containers do not; a norm's weight is a vector."""
    assert not multiplies(layer)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_old_weight_norm():
    """The style before parametrizations, which keeps the direction under another name."""
    assert multiplies(weight_norm(nn.Linear(3, 2)))
