"""PacGAN: D judges packs of samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    WIDTH,
    ConvD,
    ConvG,
    D,
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

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques import parse
from gandiag.techniques.base import Ends
from gandiag.techniques.pacgan import PacGAN, pack


def test_rows_go_into_packs_in_their_order() -> None:
    """Six rows make three packs of two; five rows too, the last one filled up from the first row."""
    x = torch.arange(6.0)[:, None]
    assert torch.equal(pack(x, 2)[:, :, 0], torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    assert torch.equal(pack(x[:5], 2)[:, :, 0], torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 0.0]]))


def test_blocks_side_by_side_are_one_wide_layer() -> None:
    """W_1 x_1 + W_2 x_2 + W_3 x_3 + b is the wide layer [W_1 W_2 W_3] on the whole pack."""
    layer, technique = nn.Linear(2, 4), PacGAN(m=3)
    technique.widen(Ends(layer, layer), generator=own_stream())
    wide = torch.cat([layer.weight, *technique.added()[layer]], dim=1)
    x = torch.randn(6, 2)
    torch.testing.assert_close(technique.stem(layer, x, layer.forward), x.view(2, 6) @ wide.T + layer.bias)
    assert torch.equal(technique.d_output(torch.tensor([[1.0], [2.0]]), rows=5)[:, 0], torch.tensor([1.0, 1, 1, 2, 2]))


def test_packs_of_one_are_refused() -> None:
    """m=1 is no packing."""
    with pytest.raises(UsageError, match="at least 2"):
        parse("pacgan:m=1")


def test_a_first_layer_that_cannot_be_widened_is_refused() -> None:
    """A transposed convolution as D's first layer: refused by name, with something else to try."""
    layer = nn.ConvTranspose2d(1, 1, 3)
    with pytest.raises(TechniqueRefused, match="ConvTranspose2d"):
        PacGAN().widen(Ends(layer, layer), generator=own_stream())


def widened(s: Script, m: int, optimizer: Callable[..., object]) -> Script:
    """The script with a D whose first layer really is m times as wide."""
    first = s.d.first
    stream, scale = own_stream(), first.weight.detach().std()
    blocks = [scale * torch.randn(first.weight.shape, generator=stream) for _ in range(m - 1)]
    if isinstance(first, nn.Linear):
        wide: nn.Module = nn.Linear(m * 2, WIDTH)
    else:
        wide = nn.Conv2d(m, first.out_channels, 4, 2, 1)
    with torch.no_grad():
        wide.weight.copy_(torch.cat([first.weight, *blocks], dim=1))
        wide.bias.copy_(first.bias)
    s.d.first = wide
    plain = type(s.d).features

    def features(self: nn.Module, x: Tensor) -> Tensor:
        # n samples (n, d) as n / m packs (n / m, m * d); pictures (n, 1, h, w) as (n / m, m, h, w).
        return plain(self, x.reshape(len(x) // m, m * x.shape[1], *x.shape[2:]))

    s.d.__class__ = type("Packed", (type(s.d),), {"features": features})
    s.optimizer_d = optimizer(s.d.parameters())
    return s


def compare(ours: Script, theirs: Script, added: dict[nn.Module, list[nn.Parameter]]) -> None:
    """The wide weight is the script's block beside the added ones; all the rest has the same names."""
    found, wanted = ours.tensors(), theirs.tensors()
    found["d.first.weight"] = torch.cat([found["d.first.weight"], *added[ours.d.first]], dim=1).detach()
    for tensors in (found, wanted):
        for name in [name for name in tensors if name.startswith("optimizer_d.0")]:
            del tensors[name]
    assert_same(found, wanted, within=1e-6)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
@pytest.mark.parametrize("m", [2, 4])
def test_equals_a_really_wide_first_layer(style: str, optimizer: Callable[..., object], m: int, tmp_path: Path) -> None:
    """Within 1e-6: the sum over blocks is rounded in another order than the wide product."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    run = watched(STYLES[style], ours, [f"pacgan:m={m}"], tmp_path)
    train(STYLES[style], widened(theirs, m, optimizer))
    compare(ours, theirs, run.techniques[0].added())


def test_equals_a_really_wide_convolution(tmp_path: Path) -> None:
    """Packs of pictures lie along the channels, as in the authors' code."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    run = watched(dcgan, ours, ["pacgan:m=2"], tmp_path)
    theirs = widened(theirs, 2, lambda parameters: type(ours.optimizer_d)(parameters, **ours.optimizer_d.defaults))
    train(dcgan, theirs)
    compare(ours, theirs, run.techniques[0].added())


def test_an_odd_last_batch_trains_on(tmp_path: Path) -> None:
    """Fifteen and thirteen rows in packs of two: D's outputs keep their number, and training is finite."""

    def data() -> list[Tensor]:
        return [torch.randn(n, 2) for n in (16, 15, 13, 1)]

    ours = script(d=lambda: D(sigmoid=True), data=data)
    watched(dcgan, ours, ["pacgan"], tmp_path)
    assert all(value.isfinite().all() for value in ours.tensors().values())
