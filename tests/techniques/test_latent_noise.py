"""Latent noise: Gaussian noise on G's input."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    ConvD,
    ConvG,
    Hand,
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
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.latent_noise import noisy


def test_the_noise_has_the_strength_asked_for() -> None:
    """Noise on zeros is std times the standard normal numbers of the given stream, exactly."""
    z = noisy(torch.zeros(3, 2), std=0.5, generator=own_stream())
    assert torch.equal(z, 0.5 * torch.randn(3, 2, generator=own_stream()))


class ByHand(Hand):
    """Noise at each call of G, from the stream that gandiag uses."""

    def __init__(self) -> None:
        self.stream = own_stream()

    def latent(self, s: Script, z: Tensor) -> Tensor:
        return z + 0.3 * torch.randn(z.shape, generator=self.stream)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit: the same numbers are added at the same place."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["latent_noise:std=0.3"], tmp_path)
    train(STYLES[style], theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """A DCGAN-like G."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    watched(dcgan, ours, ["latent_noise:std=0.3"], tmp_path)
    train(dcgan, theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors())


def test_evaluation_has_no_noise(tmp_path: Path) -> None:
    """G in eval mode, or without gradients, gets the script's latents."""

    def loop(s: Script, hand: Hand) -> None:
        z = torch.randn(8, 2)
        with torch.no_grad():
            assert torch.equal(s.g(z), s.g.layers(z))
        s.g.eval()
        assert torch.equal(s.g(z), s.g.layers(z))
        s.g.train()
        assert not torch.equal(s.g(z), s.g.layers(z))

    watched(loop, script(), ["latent_noise"], tmp_path)


def test_bad_parameters_are_refused() -> None:
    """A strength of 0 is none."""
    with pytest.raises(UsageError, match="std"):
        parse("latent_noise:std=0")
