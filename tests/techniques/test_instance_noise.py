"""Instance noise: Gaussian noise on everything that D sees while training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, D, Hand, assert_same, net_for, own_stream, script, train, watched
from torch import Tensor, nn

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.instance_noise import InstanceNoise


def test_the_noise_has_the_strength_asked_for() -> None:
    """Noise on zeros is std times the standard normal numbers of the given stream, exactly."""
    noisy = InstanceNoise(std=0.5).d_input(torch.zeros(3, 2), generator=own_stream())
    assert torch.equal(noisy, 0.5 * torch.randn(3, 2, generator=own_stream()))


class ByHand(Hand):
    """Noise at each call of D, from the stream that gandiag uses."""

    def __init__(self, std: float) -> None:
        self.std, self.stream = std, own_stream()

    def see(self, x: Tensor) -> Tensor:
        return x + self.std * torch.randn(x.shape, generator=self.stream)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit: the same numbers are added at the same place."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["instance_noise:std=0.2"], tmp_path)
    train(STYLES[style], theirs, ByHand(0.2))
    assert_same(ours.tensors(), theirs.tensors())


class FadingByHand(Hand):
    """Noise that has gone after 20 of D's steps."""

    def __init__(self, std: float) -> None:
        self.std, self.steps, self.stream = std, 0, own_stream()

    def see(self, x: Tensor) -> Tensor:
        if self.steps >= 20:
            return x
        return x + self.std * (1 - self.steps / 20) * torch.randn(x.shape, generator=self.stream)

    def before_step(self, net: nn.Module, optimizer: object) -> None:
        self.steps += isinstance(net, D)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_annealed_noise_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit: D's steps are the clock, whether G or D steps first, and D once or twice for each of G's."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["instance_noise:std=0.2,anneal=20"], tmp_path)
    train(STYLES[style], theirs, FadingByHand(0.2))
    assert_same(ours.tensors(), theirs.tensors())


def test_annealed_noise_falls_linearly() -> None:
    """Half of it after half of the steps, none at the end, and then D gets the script's own tensor."""
    noise, x = InstanceNoise(std=0.5, anneal=4), torch.zeros(3, 2)
    wanted = torch.randn(3, 2, generator=own_stream())
    for share in (1.0, 0.75, 0.5, 0.25):
        torch.testing.assert_close(noise.d_input(x, generator=own_stream()), 0.5 * share * wanted)
        noise.after_d_step([])
    assert noise.d_input(x, generator=own_stream()) is x


@pytest.mark.parametrize("params", ["std=0", "anneal=-1", "anneal=0.5"])
def test_bad_parameters_are_refused(params: str) -> None:
    """The message names the parameter."""
    with pytest.raises(UsageError, match=params.split("=")[0]):
        parse(f"instance_noise:{params}")


def test_evaluation_sees_no_noise(tmp_path: Path) -> None:
    """Calls of D without a gradient, or in eval mode, get what they were given, and use up no noise."""

    def loop(s: object, hand: Hand) -> None:
        for real in s.batches[:3]:
            with torch.no_grad():
                assert torch.equal(s.d(real), s.d.logits(real))
            s.d.eval()
            assert torch.equal(s.d(real), s.d.logits(real))
            s.d.train()
            assert not torch.equal(s.d(real), s.d.logits(real))

    watched(loop, script(), ["instance_noise"], tmp_path)
