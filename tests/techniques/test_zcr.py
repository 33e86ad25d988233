"""Latent consistency: D shall not see a small step of the latents, and G shall show it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, Hand, Script, assert_same, net_for, own_stream, script, train, watched
from torch import Tensor

from gandiag.errors import UsageError
from gandiag.techniques import parse
from gandiag.techniques.zcr import gap


def test_the_gap_of_two_samples() -> None:
    """(1 + 9) / 2."""
    assert gap(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]])) == 5.0


class ByHand(Hand):
    """Both terms, each with a step of its own."""

    def __init__(self) -> None:
        self.stream, self.z, self.begun = own_stream(), torch.empty(0), False

    def latent(self, s: Script, z: Tensor) -> Tensor:
        self.z = z
        return z

    def near(self) -> Tensor:
        return self.z + 0.3 * torch.randn(self.z.shape, generator=self.stream)

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
        plain, near = s.g(self.z).detach(), s.g(self.near()).detach()
        return 2 * (s.d.logits(plain) - s.d.logits(near)).square().mean()

    def g_term(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor:
        return -0.2 * (s.g(self.z) - s.g(self.near())).square().mean()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: the two gradients of G's weights are added after, and not inside, one backward pass."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["zcr:radius=0.3,d=2,g=0.2"], tmp_path)
    train(STYLES[style], theirs, ByHand())
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_terms_without_weight_are_refused() -> None:
    """Both weights 0, or one below."""
    for text in ("d=0,g=0", "g=-1"):
        with pytest.raises(UsageError, match="at least 0 and not both 0"):
            parse(f"zcr:{text}")
