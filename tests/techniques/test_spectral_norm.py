"""Spectral normalisation of D's layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    ConvD,
    ConvG,
    Script,
    assert_same,
    dcgan,
    net_for,
    own_stream,
    pictures,
    script,
    train,
    watched,
)
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from gandiag.techniques.spectral_norm import WARM_UP, as_matrix, power_iteration


def test_power_iteration_finds_the_largest_singular_value() -> None:
    """diag(3, 1): u and v turn to the first axis, and u W v to 3."""
    matrix, start = torch.diag(torch.tensor([3.0, 1.0])), functional.normalize(torch.ones(2), dim=0)
    u, v = power_iteration(matrix, start, start, 40)
    torch.testing.assert_close(u, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(u @ matrix @ v, torch.tensor(3.0))


def test_a_transposed_convolution_has_its_outputs_second() -> None:
    """(in, out, k, k) becomes (out, in * k * k)."""
    weight = torch.arange(24.0).view(3, 2, 2, 2)
    assert torch.equal(as_matrix(weight, transposed=True)[1], weight[:, 1].flatten())


def normalise(d: nn.Module) -> None:
    """torch's own parametrisation on each layer, started from gandiag's vectors."""
    stream = own_stream()
    for layer in [m for m in d.modules() if isinstance(m, nn.Linear | nn.Conv2d)]:
        matrix = layer.weight.detach().flatten(1)
        u, v = (functional.normalize(torch.randn(n, generator=stream), dim=0) for n in matrix.shape)
        u, v = power_iteration(matrix, u, v, WARM_UP)
        parametrizations.spectral_norm(layer)
        own = layer.parametrizations.weight[0]
        own._u.copy_(u)
        own._v.copy_(v)


def plain_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The twin's tensors under the script's names, without the vectors; optimizer states by shape."""
    return {
        name.replace("parametrizations.weight.original", "weight"): value
        for name, value in tensors.items()
        if not name.endswith(("._u", "._v")) and not name.startswith("optimizer_d")
    }


def compare(ours: Script, theirs: Script, *, within: float) -> None:
    found = {name: value for name, value in ours.tensors().items() if not name.startswith("optimizer_d")}
    assert_same(found, plain_names(theirs.tensors()), within=within)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_torchs_own_parametrisation(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit torch.nn.utils.parametrizations.spectral_norm, with one power iteration for each forward."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    normalise(theirs.d)
    theirs.optimizer_d = optimizer(theirs.d.parameters())
    watched(STYLES[style], ours, ["spectral_norm"], tmp_path)
    train(STYLES[style], theirs)
    compare(ours, theirs, within=0.0)


def test_equals_the_parametrised_convolutional_loop(tmp_path: Path) -> None:
    """Convolutions are matrices with one row for each output channel."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    normalise(theirs.d)
    theirs.optimizer_d = type(theirs.optimizer_d)(theirs.d.parameters(), **theirs.optimizer_d.defaults)
    watched(dcgan, ours, ["spectral_norm"], tmp_path)
    train(dcgan, theirs)
    compare(ours, theirs, within=0.0)
